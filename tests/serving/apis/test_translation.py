"""Clients of LibreTranslate and DeepL, unchanged, at our gateway."""

import deepl
import httpx
import pytest
from libretranslatepy import LibreTranslateAPI

from tests.serving.site import Site

TEXT = "a small package for reading text files"


def test_libretranslates_own_client_works(translator: Site) -> None:
    client = LibreTranslateAPI(translator.url)
    ours = translator.ask(TEXT).json()["outputs"][0]["text"]
    assert client.translate(TEXT, "en", "de") == ours
    assert client.languages() == [
        {"code": "en", "name": "English", "targets": ["de"]},
        {"code": "de", "name": "German", "targets": []},
    ]
    (found,) = client.detect("Das ist ganz gewiss ein deutscher Satz, und kein anderer")
    assert found["language"] == "de"
    assert found["confidence"] > 90


def test_libretranslate_takes_json_lists_and_auto(translator: Site) -> None:
    asked = {"q": ["this is a small package", TEXT], "source": "auto", "target": "de", "format": "text", "alternatives": 2}
    content = translator.http.post("/translate", json=asked).json()
    assert len(content["translatedText"]) == len(content["alternatives"]) == len(content["detectedLanguage"]) == 2
    assert content["detectedLanguage"][1]["language"] == "en"


def test_deepls_own_client_works(translator: Site) -> None:
    client = deepl.DeepLClient("any-key", server_url=translator.url, send_platform_info=False)
    ours = translator.ask(TEXT).json()["outputs"][0]["text"]
    one = client.translate_text(TEXT, source_lang="EN", target_lang="DE")
    assert isinstance(one, deepl.TextResult)
    assert (one.text, one.detected_source_lang, one.billed_characters) == (ours, "EN", len(TEXT))
    many = client.translate_text([TEXT, "another text"], target_lang="DE")
    assert isinstance(many, list)
    assert len(many) == 2
    assert many[0].text == ours
    assert [each.code for each in client.get_target_languages()] == ["DE"]
    assert [each.code for each in client.get_source_languages()] == ["EN"]
    assert not client.get_usage().any_limit_reached


def test_deepls_client_is_told_why_not(translator: Site) -> None:
    client = deepl.DeepLClient("any-key", server_url=translator.url, send_platform_info=False)
    with pytest.raises(deepl.DeepLException, match="this model translates en into de only"):
        client.translate_text(TEXT, target_lang="FR")
    with pytest.raises(deepl.DeepLException, match="formality: this model cannot do that"):
        client.translate_text(TEXT, target_lang="DE", formality="more")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/translate", {"q": TEXT, "source": "fr", "target": "de"}, {"error": "source: this model translates en into de only"}),
        ("/translate", {"q": TEXT, "target": 3}, {"error": "target: must be a text"}),
        ("/translate", {"q": TEXT, "format": "html"}, {"error": "format: must be text"}),
        ("/translate", {"q": [TEXT, ""]}, {"error": "q[1]: must not be empty"}),
        ("/detect", {}, {"error": "q[0]: must not be empty"}),
        ("/v2/translate", {"text": [TEXT]}, {"message": "target_lang: must be given, as source_lang: a language's code"}),
        ("/v2/translate", {"text": [], "target_lang": "DE"}, {"message": "text: must be a list of at least one text"}),
    ],
)
def test_a_bad_request_gets_one_line_in_the_apis_form(
    translator: Site, path: str, body: dict[str, object], said: dict[str, str]
) -> None:
    answer = translator.http.post(path, json=body)
    assert (answer.status_code, answer.json()) == (400, said)


def test_a_form_in_another_encoding_is_refused(translator: Site) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{translator.url}/translate", content=b"q=\xff&target=de", headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"error": "body: must be a form in UTF-8"})


def test_other_tasks_have_no_translation_api(gate: Site) -> None:
    assert gate.http.post("/translate", json={"q": TEXT}).status_code == 404
