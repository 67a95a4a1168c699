"""The one way to decode an exported model: for scoring, serving and batch alike.

With ct2/ in the export it runs CTranslate2 and the `tokenizers` library, and imports neither torch nor transformers.
"""

from pipelines.decode.answers import Answer, Encoded, Written, settled
from pipelines.decode.decoder import Decoder
from pipelines.decode.parts import Reading, TooLong, whole

__all__ = ["Answer", "Decoder", "Encoded", "Reading", "TooLong", "Written", "settled", "whole"]
