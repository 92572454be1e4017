"""What reviewers rate besides the product as a whole, with names in the languages a shop has translated them to."""

from collections.abc import Mapping

ATTRIBUTE_NAMES: Mapping[str, Mapping[str, str]] = {
    "5f6a1c9be2d0a40001a1b201": {
        "en": "Value for money",
        "fr": "Rapport qualité-prix",
        "de": "Preis-Leistungs-Verhältnis",
        "es": "Relación calidad-precio",
        "nl": "Prijs-kwaliteitverhouding",
        "da": "Værdi for pengene",
    },
    "5f6a1c9be2d0a40001a1b202": {
        "en": "Quality",
        "fr": "Qualité",
        "de": "Qualität",
        "es": "Calidad",
        "nl": "Kwaliteit",
        "da": "Kvalitet",
    },
    "5f6a1c9be2d0a40001a1b203": {
        "en": "Ease of use",
        "fr": "Facilité d'utilisation",
        "de": "Benutzerfreundlichkeit",
        "es": "Facilidad de uso",
        "nl": "Gebruiksgemak",
        "da": "Brugervenlighed",
    },
}
"""``attributeId`` to its name by language. Languages that are not here fall back to English."""

VALUE_FOR_MONEY = "5f6a1c9be2d0a40001a1b201"


def attribute_rating(attribute_id: str, rating: float) -> dict[str, object]:
    """Return one entry of ``attributeRatings``, named in English."""
    return {
        "attributeId": attribute_id,
        "attributeName": ATTRIBUTE_NAMES[attribute_id]["en"],
        "attributeType": "range_1to5",
        "rating": rating,
    }


def named_for(locale: str, review: object) -> object:
    """Return the review with the attribute names a ``locale`` such as ``fr`` or ``fr-FR`` asks for.

    The review itself is left alone; what is malformed, or has no known attribute, comes back as it is.
    """
    language = locale.replace("_", "-").partition("-")[0].lower()
    ratings = review.get("attributeRatings") if isinstance(review, dict) else None
    if not isinstance(review, dict) or not isinstance(ratings, list) or not ratings:
        return review
    return review | {"attributeRatings": [_renamed(rating, language) for rating in ratings]}


def _renamed(rating: object, language: str) -> object:
    if not isinstance(rating, dict):
        return rating
    names = ATTRIBUTE_NAMES.get(str(rating.get("attributeId")), {})
    return rating | {"attributeName": names[language]} if language in names else rating
