"""Between meaning and tokens: a prompt by the model's own chat template, an answer with its end, and back to text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from hotline.errors import InputError
from hotline.families.generation import Limits
from hotline.prompts import Message
from hotline.task import Input, Target, Task

BROKEN = "\N{REPLACEMENT CHARACTER}"
BLANKS = "ĠĊčĉ▁ \n\r\t"
"""Blanks as byte-level and SentencePiece tokens write them."""
PLAIN_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}{% for message in messages %}{{ message.content }}\n\n{% endfor %}"
)
"""For a base without a chat template: the texts, with a blank line after each."""


class Chat:
    """The task's prompt in the words of a tokenizer. `ends` are the tokens that end an answer."""

    def __init__(
        self, task: Task, tokenizer: Any, ends: Sequence[int], max_tokens: int, max_answer_tokens: int
    ) -> None:
        self.task, self.tokenizer = task, tokenizer
        self.field = written_field(task)
        rules = task.target.model_fields[self.field].metadata
        self.longest = next((rule.max_length for rule in rules if hasattr(rule, "max_length")), None)
        self._may_be_empty = not any(getattr(rule, "min_length", 0) for rule in rules)
        self.end = int(tokenizer.eos_token_id)
        self.ends = sorted({self.end, *ends})
        self.pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end)
        self._marks = Marks({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}, normaliser(tokenizer))
        self.prompt_tokens, self.answer_tokens = max_tokens - max_answer_tokens, max_answer_tokens
        if not tokenizer.chat_template:
            tokenizer.chat_template = PLAIN_TEMPLATE

    @cached_property
    def limits(self) -> Limits:
        """No special token within an answer, and no blank or end at the start of one that must say something."""
        never = [number for number in self.tokenizer.all_special_ids if number not in self.ends]
        vocabulary = self.tokenizer.get_vocab()
        blank = [] if self._may_be_empty else [n for token, n in vocabulary.items() if not token.strip(BLANKS)]
        first = [] if self._may_be_empty else sorted({*self.ends, *blank})
        return Limits(self.answer_tokens, self.ends, self.pad, never, first)

    def asked(self, inputs: Sequence[Input]) -> list[list[int]]:
        """Prompts as tokens; one that is too long loses the end of its longest text, or its oldest turns.

        Raises InputError when the prompt's own words leave no room.
        """
        numbers = self._tokens([self._rendered(given) for given in inputs])
        return [
            each if len(each) <= self.prompt_tokens else self._shortened(given)
            for given, each in zip(inputs, numbers, strict=True)
        ]

    def answered(self, targets: Sequence[Target]) -> list[list[int]]:
        """Answers as tokens with the end token; one that is too long is cut, and does not end."""
        return [[*each, self.end][: self.answer_tokens] for each in self._written(targets)]

    def read(self, numbers: Sequence[int]) -> Target:
        """The target that those tokens write, without an end. Raises pydantic's ValidationError."""
        text = self.decoded(numbers).replace(BROKEN, "").strip()[: self.longest]
        empty = bool(self._prompt.refusal) and text == self._prompt.refusal
        return self.task.target.model_validate({self.field: "" if empty else text})

    def decoded(self, numbers: Sequence[int]) -> str:
        """Those tokens as text, special ones left out; bytes that make no character are BROKEN."""
        return str(self.tokenizer.decode(list(numbers), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def understood(self, messages: Sequence[Message]) -> Input | None:
        """The input of which the task's prompt makes exactly these messages; None when there is none."""
        return self._prompt.understood(messages, self.task.input)  # type: ignore[no-any-return]

    def put(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """Any messages as tokens of a prompt, uncut. Raises what the model's own template says about them."""
        return self._tokens([self._templated(messages, **({"tools": list(tools)} if tools else {}))])[0]

    @cached_property
    def knows_tools(self) -> bool:
        """Whether the model's template shows it tools."""
        template = self.tokenizer.chat_template
        written = "".join(template.values()) if isinstance(template, dict) else str(template)
        return "tools" in written

    def whole_sizes(self, inputs: Sequence[Input], targets: Sequence[Target]) -> list[tuple[int, int]]:
        """(prompt, answer) tokens of every row before anything is cut."""
        prompts = self._tokens([self._rendered(given) for given in inputs])
        return [(len(p), len(a) + 1) for p, a in zip(prompts, self._written(targets), strict=True)]

    @property
    def _prompt(self) -> Any:
        return self.task.prompt

    def _written(self, targets: Sequence[Target]) -> list[list[int]]:
        texts = [getattr(target, self.field) or self._prompt.refusal for target in targets]
        return self._tokens([self._marks.dropped(text) for text in texts])

    def _rendered(self, given: Input) -> str:
        return self._templated(self._prompt.messages(given))

    def _templated(self, messages: Sequence[Mapping[str, Any]], **others: Any) -> str:
        """The prompt with its template's marks; those that a caller wrote are dropped, or they would end a turn."""
        # Qwen3 and its kin reason aloud unless they are told not to; other templates do not read the word
        said = self.tokenizer.apply_chat_template(
            self._marks.dropped_within(list(messages)),
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
            **self._marks.dropped_within(others),
        )
        return str(said)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        found = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
        return [list(each) for each in found]

    def _shortened(self, given: Input) -> list[int]:
        texts = {name: getattr(given, name) for name in self._prompt.fields if isinstance(getattr(given, name), str)}
        turns = getattr(given, self._prompt.dialogue) if self._prompt.dialogue else ()

        def kept(turn_count: int, field: str, characters: int) -> list[int]:
            changed: dict[str, Any] = {field: texts[field][:characters]} if field else {}
            if turns:
                changed[self._prompt.dialogue] = turns[len(turns) - turn_count :]
            return self._tokens([self._rendered(given.model_copy(update=changed))])[0]

        field = max(texts, key=lambda name: len(texts[name])) if texts else ""
        whole = len(texts[field]) if field else 0
        turn_count = self._most(lambda count: kept(count, field, whole), len(turns))
        guess = whole + self.prompt_tokens - len(kept(turn_count, field, whole))  # were every character a token
        fitting = self._most(lambda count: kept(turn_count, field, count), whole, (guess, guess + 1))
        numbers = kept(turn_count, field, fitting)
        if len(numbers) > self.prompt_tokens:
            raise InputError(
                f"the prompt of {self.task.name} leaves no room for a text",
                where="model.max_tokens",
                found=f"{len(numbers)} tokens without one",
                expected=f"at most {self.prompt_tokens}",
                next="raise max_tokens, or lower max_answer_tokens",
            )
        return numbers

    def _most(self, numbers_of: Callable[[int], list[int]], limit: int, likely: Iterable[int] = ()) -> int:
        """The largest count up to `limit` whose tokens fit, 0 when none does; `likely` ones are tried first."""
        low, high, guesses = 0, limit, iter(likely)
        while low < high:
            tried = next((guess for guess in guesses if low < guess <= high), (low + high + 1) // 2)
            low, high = (tried, high) if len(numbers_of(tried)) <= self.prompt_tokens else (low, tried - 1)
        return low


class Marks:
    """Texts that a tokenizer reads as tokens of their own, such as the ends of turns."""

    def __init__(self, marks: Iterable[str], normalised: Callable[[str], str] = str) -> None:
        self._normalised, self._ends = normalised, dict[str, list[str]]()
        for mark in filter(None, marks):
            self._ends.setdefault(mark[-1], []).append(mark)

    def dropped(self, text: str) -> str:
        """The text without any mark, also without those that appear when one within them is dropped, or when the
        tokenizer normalises the text: ＜｜im_end｜＞ is a mark to some."""
        text = self._without(text)
        while self._holds(normal := self._normalised(text)):
            text = self._without(normal)
        return text

    def _holds(self, text: str) -> bool:
        return any(mark in text for marks in self._ends.values() for mark in marks)

    def _without(self, text: str) -> str:
        if not self._holds(text):
            return text
        kept: list[str] = []
        for character in text:
            kept.append(character)
            for mark in self._ends.get(character, ()):
                if "".join(kept[-len(mark) :]) == mark:
                    del kept[-len(mark) :]
                    break
        return "".join(kept)

    def dropped_within(self, value: Any) -> Any:
        """The same for every text in lists and mappings."""
        if isinstance(value, str):
            return self.dropped(value)
        if isinstance(value, Mapping):
            return {self.dropped(str(name)): self.dropped_within(each) for name, each in value.items()}
        return [self.dropped_within(each) for each in value] if isinstance(value, list | tuple) else value


def normaliser(tokenizer: Any) -> Callable[[str], str]:
    """What the tokenizer does to a text before it looks for tokens in it."""
    found = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    return found.normalize_str if found else str


def written_field(task: Task) -> str:
    """The one text field of the target. Raises InputError for a target that is not one text."""
    fields = [name for name in task.target.model_fields if name not in task.provenance_fields]
    if len(fields) != 1 or task.target.model_fields[fields[0]].annotation is not str:
        raise InputError(
            f"a writer answers {task.name} with one text", found=", ".join(fields), expected="one str field"
        )
    return fields[0]
