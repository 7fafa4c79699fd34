"""Kubernetes' quantities, such as 500m or 4Gi, as numbers."""

from decimal import Decimal
from typing import Any


def number(quantity: Any) -> Decimal:
    """Return a quantity in its base unit: cores, bytes, pieces."""
    from kubernetes.utils import parse_quantity

    value: Decimal = parse_quantity(quantity)
    return value
