"""A version as one folder that runs with ctranslate2 and sentencepiece alone: no torch, no transformers, no tokenizers.

`export` makes it and refuses if the folder's own code reads or answers probes differently from the decoder that serves.
"""

from pipelines.on_device.folder import About, export

__all__ = ["About", "export"]
