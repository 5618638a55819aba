"""Search results for people and for other programs: a page, GeoJSON, JSON."""

from slidekin.report._geojson import to_geojson
from slidekin.report._html import render_html
from slidekin.report._json import to_json
from slidekin.report._pictures import Pictures, fetch_pictures, with_stored_query

__all__ = [
    "Pictures",
    "fetch_pictures",
    "render_html",
    "to_geojson",
    "to_json",
    "with_stored_query",
]
