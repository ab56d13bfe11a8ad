"""What is learned of an endpoint's refusals."""

from typing import Any

import httpx2
import openai
import pytest

from agent.model.refused_settings import PICTURES, RefusedSettings


def refusal(body: Any) -> openai.BadRequestError:
    request = httpx2.Request("POST", "http://127.0.0.1/v1")
    response = httpx2.Response(400, request=request)
    return openai.BadRequestError(f"Error code: 400 - {body}", response=response, body=body)


@pytest.mark.parametrize("words", ["max_completion_tokens", "maxCompletionTokens"])
def test_a_limit_of_tokens_goes_by_its_other_name(words: str) -> None:
    """Endpoints know `max_tokens` or `max_completion_tokens`; where neither, none is sent."""
    refused = RefusedSettings()
    payload = {"max_completion_tokens": 100, "stream": True}
    assert refused.learn("m", payload, refusal({"message": f"Unknown field: {words}"}))
    refused.remove_from(payload, "m")
    assert payload == {"max_tokens": 100, "stream": True}
    assert refused.learn("m", payload, refusal({"detail": "max_tokens: no such field"}))
    payload = {"max_completion_tokens": 100, "stream": True}
    refused.remove_from(payload, "m")
    assert payload == {"stream": True}


@pytest.mark.parametrize(
    "body",
    [
        {"message": "The temperature of this room is no field"},
        {"message": "my_temperature_field is unknown"},
        {"message": "stream is not supported"},
        None,
        "<html>Bad Request</html>",
    ],
)
def test_other_refusals_teach_nothing(body: Any) -> None:
    """Only what was sent and is named teaches, so that no request is made in vain."""
    refused = RefusedSettings()
    assert not refused.learn("m", {"stream_options", "stream", "messages"}, refusal(body))
    assert refused.of("m") == frozenset()


def test_each_refusal_is_learned_once() -> None:
    """An endpoint that goes on to refuse what is left out already is not asked again for ever."""
    refused, error = RefusedSettings(), refusal({"message": "stream_options is not permitted"})
    assert refused.learn("m", {"stream_options"}, error)
    assert not refused.learn("m", {"stream_options"}, error)
    assert refused.learn("other", {"stream_options"}, error)


@pytest.mark.parametrize(
    "words",
    [
        "Invalid content type. image_url is only supported by certain models.",
        "unknown variant `image_url`, expected `text`",
        "m is not a multimodal model",
        "At most 0 image(s) may be provided in one prompt.",
        "image input is not supported - hint: you may need to provide the mmproj",
        "No endpoints found that support image input",
        "Image input is not enabled for this model",
        "'messages.3.content' : value must be a string",
        "This model does not support image inputs",
    ],
)
def test_a_model_without_eyes_is_learned(words: str) -> None:
    """In the words of many endpoints, where a tool's pictures were sent."""
    refused = RefusedSettings()
    assert not refused.learn("m", {"messages"}, refusal({"message": words}))
    assert refused.learn("m", {PICTURES}, refusal({"message": words}))


@pytest.mark.parametrize(
    "words",
    [
        "You uploaded an unsupported image. Please make sure your image is valid.",
        "Could not process image",
        "Image size is 9 MB, which exceeds the limit",
        "At most 1 image(s) may be provided in one prompt.",
    ],
)
def test_a_picture_that_is_refused_teaches_nothing_of_the_model(words: str) -> None:
    """Others may be taken."""
    assert not RefusedSettings().learn("m", {PICTURES}, refusal({"message": words}))
