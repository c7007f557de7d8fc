"""The HTTP contract as pydantic models: what a request may hold and what an answer holds.

The models say which members an object has and of which JSON type they are, without coercion: "1"
is no number and true no integer. What a leaf *means* (whether an id is short enough, a vector
finite, a filter well formed) is checked by the service, whose errors carry their own codes; such
leaves are typed `Any` here and described to OpenAPI by a schema.

Requests are validated straight from bytes (`model_validate_json`). Answers are described here for
OpenAPI, and written without passing through the models again; `tests/api` checks that every
answer is what its model says.
"""
