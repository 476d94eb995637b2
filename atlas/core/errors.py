"""Errors that users can meet. Each message names the value, what was expected and what to do."""


class AtlasError(Exception):
    """Base of all errors raised on purpose; the command line prints its text and exits with status 1."""


class NotAnAtlasError(AtlasError):
    """The file is missing, is not DuckDB, or is not an atlas."""


class SchemaVersionError(AtlasError):
    """The file was written for another version of the schema."""


class NeuronNameError(AtlasError):
    """A neuron's name is malformed, or names no neuron of this model."""


class TokenError(AtlasError):
    """A token id or text names no token of this model."""


class SlugError(AtlasError):
    """A slug is malformed or reserved."""


class QueryError(AtlasError):
    """A user's SQL failed."""


class WeightsError(AtlasError):
    """A question needs weights that this atlas does not hold."""


class ParameterError(AtlasError):
    """A parameter of a call is unknown, missing or malformed."""


class PairError(AtlasError):
    """A neuron and a token whose predictions were not counted, so that they have no curve."""


class StudyNameError(AtlasError):
    """This atlas has no study of that name."""


class RemoteError(AtlasError):
    """A served atlas could not be reached, refused the request, or gave an answer that cannot be read."""
