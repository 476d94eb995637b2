"""The API below `/api/v1`: the calls of `atlas.api` as routes, and the OpenAPI document that is made from them."""

from web.api.routes import blueprint

__all__ = ["blueprint"]
