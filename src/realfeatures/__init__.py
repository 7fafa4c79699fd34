"""Which features of an image are real: usefulness and robustness of features across learning paradigms."""

__version__ = "0.1.0"
