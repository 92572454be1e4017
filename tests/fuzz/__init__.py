"""Whatever comes from outside, thrown at what reads it. A few examples in ``make test``, many in ``make fuzz``.

What was found is kept as an ``@example`` at the property that it broke.
"""
