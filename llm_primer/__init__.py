"""The companion code of Introduction to LLM: small, tested NumPy versions of its mechanisms."""

from llm_primer.errors import PrimerError

__version__ = "0.1.0"
__all__ = ["PrimerError", "__version__"]
