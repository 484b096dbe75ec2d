"""The checker that the import hook puts around every function of the package."""

from beartype import BeartypeConf, beartype

# As PEP 484 and mypy have it: an int is fine where a float is asked for.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
