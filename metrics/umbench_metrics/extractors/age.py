"""Groups of ages, the classes of the task extractor `age`."""

AGE_BOUNDS = (44, 64, 74)


def age_group(age: float) -> int:
    """Group 0 .. 3 of an age in years: (0, 44], (44, 64], (64, 74], (74, 100].

    >>> [age_group(a) for a in (44, 45, 74, 75)]
    [0, 1, 2, 3]
    """
    return sum(age > bound for bound in AGE_BOUNDS)
