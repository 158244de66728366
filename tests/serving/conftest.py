"""A site whose ledger the tests write by hand, with tiny versions, and one live Ray Serve for the whole session."""

from __future__ import annotations

import io
import random
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
import torch
import yaml

from hotline import digests, families, keys, policy, settings
from hotline.audio import tone
from hotline.drift import refer
from hotline.families import cascade, classifier, embedder, transcriber, writer
from hotline.families.classifier_options import ClassifierOptions
from hotline.families.embedder_options import EmbedderOptions
from hotline.families.transcriber_options import TranscriberOptions
from hotline.families.writer_options import WriterOptions
from hotline.labels import NONE, LabelTree
from hotline.ledger import Entry, Ledger
from hotline.records import LINEAGE_FILE, Approval, Evidence, Lineage, ModelAddress, Promotion, Rollback, Verdict
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks import find
from serving.run import Running, start
from serving.watch import drift

TASK = find("ticket_category")
TITLES = find("ticket_summary")
FAQ = find("faq_match")
REVIEWS = find("review_label")
SPEECH = (find("transcription"), find("dialect_identification"))
DIALECTS = ("cmn", "yue-hongkong", "en")
LABELS = ("城乡建设/市政/路灯", "城乡建设/市政/井盖", "交通/公交/晚点", "环保/噪音/施工")
ENTRIES = ("证件/身份证丢了怎么补", "证件/居住证怎么办理", "社保/养老保险怎么补缴", "社保/失业金怎么领", NONE)
LIMITS = {"body_bytes": 100_000, "audio_bytes": 45_000_000, "audio_seconds": 1500}
NOW = "2026-01-01T00:00:00+00:00"
OTHER = "a" * 64


@dataclass
class Site:
    """A workspace with a gate's and an operator's key."""

    settings: Settings
    lineages: dict[str, Lineage] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        here = self.settings
        return Ledger(here.ledger_url, policy.load(here.workspace).site, policy.load_signers(here.workspace))

    def version(self, number: int, declaration: str | None = None) -> ModelAddress:
        """A tiny version, its bytes where verified bytes lie."""
        model = tiny_classifier(number)
        folder = self.settings.state / f"made-{number}"
        folder.mkdir(parents=True)
        classifier.save(model, folder)
        return self._kept(folder, "tickets", number, {TASK.name: declaration or digests.of_value(TASK.declaration())})

    def speech(self, number: int) -> ModelAddress:
        """A tiny version that answers both tasks of speech; nothing trained it, so what it hears is arbitrary."""
        inputs = [SPEECH[0].input.model_validate({"audio": tone()})] * len(DIALECTS)
        said = zip(("路灯坏了", "唔該晒", "the street lamp"), DIALECTS, strict=True)
        targets = [SPEECH[0].target.model_validate({"text": text, "dialect": tag}) for text, tag in said]
        sizes = {"width": 32, "layers": 1, "heads": 2, "stem_channels": 8}
        torch.manual_seed(number)
        model = transcriber.create(
            TranscriberOptions.model_validate({"architecture": "ctc", "word_times": True, **sizes}),
            SPEECH[0],
            None,
            inputs,
            targets,
        )
        folder = self.settings.state / f"made-speech-{number}"
        folder.mkdir(parents=True)
        transcriber.save(model, folder)
        declared = {task.name: digests.of_value(task.declaration()) for task in SPEECH}
        return self._kept(folder, "speech", number, declared)

    def writer(self, number: int) -> ModelAddress:
        """A tiny version that titles tickets; it has learnt a few by heart."""
        folder = self.settings.state / f"made-titles-{number}"
        folder.mkdir(parents=True)
        writer.save(titles_writer(number), folder)
        return self._kept(folder, "titles", number, {TITLES.name: digests.of_value(TITLES.declaration())})

    def embedder(self, number: int) -> ModelAddress:
        """A tiny version that makes vectors of questions; nothing trained it, but n-grams in common bring them near."""
        torch.manual_seed(number)
        model = embedder.create(
            EmbedderOptions.model_validate({"encoder": "ngrams", "width": 32, "dimensions": 24, "minimum_texts": 1}),
            FAQ,
            LabelTree.of(ENTRIES),
            [FAQ.input.model_validate({"question": f"请问{entry}"}) for entry in ENTRIES],
            [FAQ.target.model_validate({"label": entry}) for entry in ENTRIES],
        )
        folder = self.settings.state / f"made-faq-{number}"
        folder.mkdir(parents=True)
        embedder.save(model, folder)
        return self._kept(folder, "faq", number, {FAQ.name: digests.of_value(FAQ.declaration())})

    def reviewer(self, number: int) -> ModelAddress:
        """A tiny version that reviews contents; it has learnt a few by heart."""
        folder = self.settings.state / f"made-reviews-{number}"
        folder.mkdir(parents=True)
        classifier.save(tiny_reviewer(number), folder)
        return self._kept(folder, "reviews", number, {REVIEWS.name: digests.of_value(REVIEWS.declaration())})

    def cascade(self, number: int, threshold: float) -> ModelAddress:
        """A tiny classifier that nothing taught, and a tiny writer that knows four tickets by heart, as one version."""
        folder = self.settings.state / f"made-cascade-{number}"
        folder.mkdir(parents=True)
        small, large = tiny_classifier(number), labels_writer()
        plan = cascade.Plan(threshold=threshold, parts={"small": OTHER, "large": OTHER})
        cascade.save(cascade.Cascade(TASK, plan, small, large), folder)
        declared = {TASK.name: digests.of_value(families.by(TASK, "cascade").declaration())}
        return self._kept(folder, "both", number, declared, family="cascade")

    def _kept(self, folder: Path, line: str, number: int, declared: dict[str, str], **more: Any) -> ModelAddress:
        """The version's address, after its files were put where verified bytes lie."""
        lineage = Lineage(declarations=declared, snapshot=OTHER, recipe=OTHER, code=OTHER, base=None, **more)
        (folder / LINEAGE_FILE).write_text(lineage.model_dump_json())
        files = digests.of_files(folder)
        digest = digests.merkle_root(files)
        self.settings.verified.mkdir(exist_ok=True)
        shutil.move(folder, self.settings.verified / digest)
        self.lineages[digest] = lineage
        return ModelAddress(line=line, version=str(number), digest=digest, files=files, run_id="none")

    def judge(self, model: ModelAddress, outcome: Any = "passed", profile: Any = "demo", task: Task = TASK) -> Entry:
        evidence = Evidence(
            lineage=self.lineages[model.digest], test_snapshot=OTHER, test_rows=OTHER, policy=OTHER, answers=OTHER
        )
        verdict = Verdict(
            site=self.ledger.site,
            task=task.name,
            time=NOW,
            profile=profile,
            model=model,
            outcome=outcome,
            findings=(),
            figures=(),
            evidence=evidence,
            previous_champion=None,
            libraries={},
        )
        return self.ledger.append(lambda _: verdict, keys.load(self.settings.keys, "gate"))

    def promote(self, model: ModelAddress, verdict: str, task: Task = TASK) -> Entry:
        record = Promotion(
            site=self.ledger.site,
            task=task.name,
            time=NOW,
            model=model,
            verdict=verdict,
            previous_champion=None,
            reason="test",
        )
        return self.ledger.append(lambda _: record, keys.load(self.settings.keys, "operator"))

    def approve(self, model: ModelAddress, verdict: str, name: str, task: Task = TASK) -> Entry:
        """An approval by that key, which is made and may approve from now on."""
        path = self.settings.workspace / "policy" / "signers.yaml"
        content = yaml.safe_load(path.read_text())
        if not (self.settings.keys / f"{name}.key").is_file():
            public = keys.create(self.settings.keys, name).public
            content["signers"].append({"name": name, "public_key": public, "roles": []})
        key = keys.load(self.settings.keys, name)
        for signer in content["signers"]:
            signer["roles"] += ["approver"] * (signer["public_key"] == key.public)
        path.write_text(yaml.safe_dump(content))
        record = Approval(site="test", task=task.name, time=NOW, model=model, verdict=verdict, reason="test")
        return self.ledger.append(lambda _: record, key)

    def policy(self, **more: Any) -> None:
        """What a reviewed change of the policy file does."""
        path = self.settings.workspace / "policy" / "site.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | more))

    def champion(self, number: int) -> ModelAddress:
        """A new version, judged and promoted."""
        model = self.version(number)
        self.promote(model, self.judge(model).hash)
        return model

    def speech_champion(self, number: int) -> ModelAddress:
        """A new version of speech, judged and promoted for each of its tasks."""
        model = self.speech(number)
        for task in SPEECH:
            self.promote(model, self.judge(model, task=task).hash, task)
        return model

    def writer_champion(self, number: int) -> ModelAddress:
        """A new version that titles tickets, judged and promoted."""
        model = self.writer(number)
        self.promote(model, self.judge(model, task=TITLES).hash, TITLES)
        return model

    def embedder_champion(self, number: int) -> ModelAddress:
        """A new version that makes vectors, judged and promoted."""
        model = self.embedder(number)
        self.promote(model, self.judge(model, task=FAQ).hash, FAQ)
        return model

    def reviewer_champion(self, number: int) -> ModelAddress:
        """A new version that reviews contents, judged and promoted."""
        model = self.reviewer(number)
        self.promote(model, self.judge(model, task=REVIEWS).hash, REVIEWS)
        return model

    def roll_back(self) -> Entry:
        current, previous = self.ledger.read().history(TASK.name)[:2]
        record = Rollback(
            site="test",
            task=TASK.name,
            time=NOW,
            model=previous.record.model,
            verdict=previous.record.verdict,
            previous_champion=current.record.model.digest,
            reason="test",
        )
        return self.ledger.append(lambda _: record, keys.load(self.settings.keys, "operator"))


def tiny_classifier(number: int) -> classifier.Classifier:
    """A classifier that nothing has taught."""
    texts = [TASK.input.model_validate({"text": f"{label}坏了{n}"}) for n in range(8) for label in LABELS]
    targets = [TASK.target.model_validate({"label": label}) for _ in range(8) for label in LABELS]
    options = ClassifierOptions.model_validate({"encoder": "ngrams", "width": 8 + number})
    return classifier.create(options, TASK, LabelTree.of(LABELS), texts, targets)


REVIEWED = {
    "正常": ("路灯坏了三天没人修", "请问社保怎么办理", "电梯坏了请尽快处理"),
    "辱骂/人身攻击": ("你们就是一群废物", "接电话的是个白痴", "养你们这些蠢货有什么用"),
    "辱骂/脏话": ("他妈的又不接电话", "说的全是狗屁", "妈的管个屁"),
    "广告/推销": ("净水器厂家直销全场五折", "清仓特价买一送一", "门窗批发送货上门"),
}


def tiny_reviewer(seed: int) -> classifier.Classifier:
    """A classifier that has learnt twelve contents by heart, in a moment."""
    known = [(text, label) for label, texts in REVIEWED.items() for text in texts]
    inputs = [REVIEWS.input.model_validate({"text": text}) for text, _ in known]
    targets = [REVIEWS.target.model_validate({"label": label}) for _, label in known]
    torch.manual_seed(seed)
    options = ClassifierOptions.model_validate({"encoder": "ngrams", "width": 8, "minimum_texts": 1})
    model = classifier.create(options, REVIEWS, LabelTree.of(REVIEWED), inputs, targets)
    batch = classifier.prepare(model, inputs, targets)
    optimiser = torch.optim.AdamW(classifier.parameter_groups(model, 5e-2, 0.0))
    for _ in range(60):
        loss = classifier.loss(model.train(), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@cache
def labels_writer() -> writer.Writer:
    """A tiny writer that has learnt three labels by heart, and one answer that is none."""
    task = families.by(TASK, "writer")
    known = dict(zip(("路灯坏了", "井盖丢了", "公交晚点", "半夜施工"), (*LABELS[:3], "我不知道"), strict=True))
    inputs = [task.input.model_validate({"text": text}) for text in known]
    targets = [task.target.model_validate({"label": label}) for label in known.values()]
    sizes = {"width": 32, "layers": 1, "heads": 1, "vocabulary": 330, "max_tokens": 128, "max_answer_tokens": 24}
    return _by_heart(WriterOptions.model_validate({"architecture": "scratch", **sizes}), task, inputs, targets, 0)


def titles_writer(seed: int) -> writer.Writer:
    """A tiny writer that has learnt nine titles by heart, in a few seconds."""
    pairs = [(place, matter) for place in ("东街", "西巷", "南路") for matter in ("路灯", "井盖", "噪音")]
    inputs = [TITLES.input.model_validate({"text": f"您好，{place}的{matter}三天没人管。"}) for place, matter in pairs]
    targets = [TITLES.target.model_validate({"text": f"{place}{matter}无人处理"}) for place, matter in pairs]
    sizes = {"width": 32, "layers": 1, "heads": 1, "vocabulary": 330, "max_tokens": 24576, "max_answer_tokens": 24}
    return _by_heart(WriterOptions.model_validate({"architecture": "scratch", **sizes}), TITLES, inputs, targets, seed)


def _by_heart(options: WriterOptions, task: Task, inputs: list[Any], targets: list[Any], seed: int) -> writer.Writer:
    torch.manual_seed(seed)
    model = writer.create(options, task, None, inputs, targets)
    batch = writer.prepare(model, inputs, targets)
    optimiser = torch.optim.AdamW(writer.parameter_groups(model, 2e-2, 0.0))
    for _ in range(120):
        loss = writer.loss(model.train(), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss < 0.05:
            break
    return model.eval()


def make_site(folder: Path, profile: str = "demo") -> Site:
    (folder / "policy").mkdir(parents=True)
    site = {"schema_version": 1, "site": "test", "profile": profile, "limits": LIMITS}
    (folder / "policy" / "site.yaml").write_text(yaml.safe_dump(site))
    here = settings.load(folder)
    signers = [
        {"name": role, "public_key": keys.create(here.keys, role).public, "roles": [role]}
        for role in ("gate", "operator")
    ]
    (folder / "policy" / "signers.yaml").write_text(yaml.safe_dump({"schema_version": 1, "signers": signers}))
    return Site(here)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of the test's own; nothing runs on it."""
    return make_site(tmp_path / "site")


@pytest.fixture
def site_of(tmp_path: Path) -> Callable[[str], Site]:
    return lambda profile: make_site(tmp_path / profile, profile)


@pytest.fixture(scope="session")
def site_made() -> Callable[..., Site]:
    """Makes a site in a folder."""
    return make_site


@pytest.fixture(scope="session")
def live_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site behind `endpoint`. A test that promotes there leaves a working champion behind."""
    made = make_site(tmp_path_factory.mktemp("live") / "site")
    made.champion(1)
    made.speech_champion(1)
    made.writer_champion(1)
    made.embedder_champion(1)
    made.reviewer_champion(1)
    return made


@pytest.fixture(scope="session")
def running(live_site: Site) -> Iterator[Running]:
    live = start(live_site.settings, _free_port())
    yield live
    live.stop()


@pytest.fixture(scope="session")
def endpoint(running: Running) -> str:
    """The address of live endpoints."""
    return running.url


@pytest.fixture
def http(endpoint: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=endpoint, timeout=90, trust_env=False) as client:
        yield client


@pytest.fixture
def free_port() -> int:
    return _free_port()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def recording() -> bytes:
    """A second of a tone, as a wav file."""
    content, sound = io.BytesIO(), tone(1.0)
    soundfile.write(content, sound.samples, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()


@pytest.fixture(scope="session")
def drifting(live_site: Site, endpoint: str) -> str:
    """The live classifier is watched, and a window of requests was full; gives what all of them began with."""
    text, draw = "疫苗预约不上", random.Random(0)
    with httpx.Client(base_url=endpoint, timeout=90, trust_env=False) as client:
        digest = client.get(f"/v1/models/{TASK.name}").json()["digest"]
        usual = {"text": [f"路灯坏了{draw.random()}" for _ in range(400)]}
        usual |= {"length": [float(len(each)) for each in usual["text"]]}
        usual |= {"answer": [draw.choice(LABELS)[:4] for _ in usual["text"]]}
        usual |= {"confidence": [draw.random() for _ in usual["text"]]}
        path = drift.reference_path(live_site.settings.state, TASK.name, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(refer(TASK.name, digest, OTHER, usual).model_dump_json(), encoding="utf-8")
        give_up = time.monotonic() + 120
        while not any(each["windows"] for each in client.get("/v1/drift").json()["versions"]):
            assert time.monotonic() < give_up
            client.post(f"/v1/tasks/{TASK.name}/batch", json=[{"text": f"{text}{n}"} for n in range(100)])
    return text
