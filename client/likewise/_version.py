"""The version of this distribution and the API it speaks."""

__version__ = "0.1.0"

API_VERSION = "v1"
