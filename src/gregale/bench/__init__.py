"""Measurements as programs: `python -m gregale.bench NAME`. Figures are ratios against something run beside them."""
