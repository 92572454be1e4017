"""The product's heart: a page of reviews, the views over it, and the trimmed shape that templates use."""

from proxy.reviews.page_loader import Selection
from proxy.reviews.service import Answer, ProductReviews, Unavailable, Warmed
from proxy.reviews.updates import Updates
from proxy.reviews.view import View

__all__ = ["Answer", "ProductReviews", "Selection", "Unavailable", "Updates", "View", "Warmed"]
