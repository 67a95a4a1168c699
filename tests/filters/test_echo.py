import pytest

from pipelines.filters import Inspector
from pipelines.filters.echo import echoes
from pipelines.spec import Filters

SENTENCE = "The package contains the files that you need to build programs."


@pytest.mark.parametrize(
    ("source", "output"),
    [
        (SENTENCE, SENTENCE),
        (SENTENCE, SENTENCE.upper() + " !!"),
        (SENTENCE, SENTENCE.replace("programs", "program")),
        ("<PERSON_1> needs the files to build programs", "<PERSON_2> needs the files to build programs"),
        ("これは小さなパッケージです", "これは小さなパッケージです"),
        (SENTENCE * 200, SENTENCE * 200),
    ],
)
def test_an_answer_that_is_its_source(source: str, output: str) -> None:
    assert echoes(source, output)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("", ""),
        ("Linux", "Linux"),
        ("Name", "Name"),
        ("Python 3.11 / GTK", "Python 3.11 / GTK"),
        ("Hewlett Packard LaserJet Professional Series Driver", "Hewlett Packard LaserJet Professional Series Driver"),
        ("ls -l /usr/share/doc/* | grep -v foo_bar", "ls -l /usr/share/doc/* | grep -v foo_bar"),
        ("%(count)s items", "%(count)s items"),
        (SENTENCE, "Das Paket enthält die Dateien, die Sie brauchen, um Programme zu bauen."),
        (SENTENCE, ""),
    ],
)
def test_names_code_and_a_word_or_two_may_stay(source: str, output: str) -> None:
    assert not echoes(source, output)


def test_only_translations_are_asked() -> None:
    assert Inspector(Filters(), "translation", "de").answer(SENTENCE, SENTENCE, finished=True) == ["echo"]
    assert Inspector(Filters(), "summarization", "en").answer(SENTENCE, SENTENCE, finished=True) == []
