"""LangChain's ChatOpenAI against the live endpoints: answers, streams, structured output, tools, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

PLACES = ("东街", "西巷", "南路")


class Ticket(BaseModel):
    """What a caller reports."""

    place: Literal["东街", "西巷", "南路"]
    urgent: bool
    tags: list[Literal["路灯", "井盖"]] = []


@tool
def file_ticket(place: Literal["东街", "西巷", "南路"]) -> str:
    """Files a ticket."""
    return place


@pytest.fixture(scope="module")
def model(endpoint: str) -> Iterator[ChatOpenAI]:
    with httpx.Client(trust_env=False, timeout=90) as http:
        yield ChatOpenAI(
            model="titles",
            base_url=f"{endpoint}/v1",
            api_key="none",
            max_retries=0,
            max_completion_tokens=60,
            temperature=0,
            http_client=http,
        )


def test_a_conversation_is_answered_and_says_who_answered(model: ChatOpenAI) -> None:
    said = model.invoke([SystemMessage("简短"), HumanMessage("你好"), AIMessage("你好"), HumanMessage("路灯")])
    assert isinstance(said, AIMessage)
    assert said.response_metadata["model_name"] == "titles@1"
    assert said.response_metadata["finish_reason"] in ("stop", "length")
    assert said.usage_metadata and said.usage_metadata["output_tokens"] > 0


def test_a_chain_answers_a_batch_as_it_answers_one_by_one(model: ChatOpenAI) -> None:
    chain = ChatPromptTemplate.from_messages([("user", "{place}的路灯三天没人管")]) | model
    rows = [{"place": place} for place in PLACES]
    assert [each.content for each in chain.batch(rows)] == [chain.invoke(row).content for row in rows]


def test_a_stream_adds_up_to_the_answer(model: ChatOpenAI) -> None:
    whole = model.invoke("你好")
    chunks = list(model.stream("你好", stream_usage=True))
    assert "".join(str(chunk.content) for chunk in chunks) == whole.content
    assert [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata][-1] == whole.usage_metadata


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_a_model_of_the_callers(model: ChatOpenAI, method: Literal["json_schema"]) -> None:
    said = model.with_structured_output(Ticket, method=method).invoke("南路的井盖坏了")
    assert isinstance(said, Ticket)
    streamed = list(model.with_structured_output(Ticket, method=method).stream("南路的井盖坏了"))
    assert streamed[-1] == said


def test_json_mode_writes_an_object(model: ChatOpenAI) -> None:
    said = model.bind(response_format={"type": "json_object"}).invoke("你好")
    assert isinstance(json.loads(str(said.content)), dict)


@pytest.mark.parametrize("choice", ["any", "file_ticket"])
def test_a_tool_is_called_with_what_it_takes(model: ChatOpenAI, choice: str) -> None:
    [call] = model.bind_tools([file_ticket], tool_choice=choice).invoke("南路的井盖坏了").tool_calls
    assert call["name"] == "file_ticket" and call["args"]["place"] in PLACES
    assert file_ticket.invoke(call["args"]) == call["args"]["place"]


def test_a_tool_that_may_be_called_is_refused_where_the_template_knows_none(model: ChatOpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        model.bind_tools([file_ticket]).invoke("你好")
    assert "body.tool_choice" in str(caught.value.body)
