"""A tiny encoder of BERT's kind, with a WordPiece tokenizer of its own, and pairs to learn from."""

import random
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

KINDS = ("library", "game", "font", "tool", "driver", "server", "compiler", "editor")
USES = ("images", "sound", "networks", "printers", "maps", "letters", "clocks", "music", "tables", "mail", "video", "text")
NAMES = ("Debian", "KDE", "Perl", "Python", "Haskell", "Xfce", "Ruby", "Qt")
SMALL = "a the for and with of on in is not without package description reads handles version no longer but as well"


def tiny_encoder(folder: Path) -> Path:
    """Write the encoder to `folder`: 2 layers of width 32."""
    words = [*KINDS, *USES, *(name.lower() for name in NAMES), *SMALL.split()]
    letters = [mark + letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789" for mark in ("", "##")]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters, ".", ",", ":", "-", "(", ")"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)) + "\n")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(
        BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **shape), add_pooling_layer=False
    ).save_pretrained(folder)
    return folder


def pairs(count: int, seed: int = 1) -> tuple[list[str], list[str]]:
    """(sources, targets) of invented packages."""
    draw = random.Random(seed)
    sources, targets = [], []
    for number in range(count):
        kind, name = draw.choice(KINDS), draw.choice(NAMES)
        first, second = draw.sample(USES, 2)
        version = draw.randint(2, 90)
        sources.append(
            f"Package: {kind}-{first}-{number}\nDescription: a {kind} that handles {first} and {second} on {name} {version}."
        )
        targets.append(f"{kind} for {first} and {second} with {name} {version}")
    return sources, targets
