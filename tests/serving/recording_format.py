"""For Schemathesis: a file is a recording about half of the time."""

from __future__ import annotations

import io

import schemathesis
import soundfile
from hypothesis import strategies as st

from hotline.audio import tone


def wav() -> bytes:
    content = io.BytesIO()
    sound = tone(0.4)
    soundfile.write(content, sound.samples, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()


schemathesis.openapi.format("binary", st.one_of(st.just(wav()), st.binary(max_size=200)))
