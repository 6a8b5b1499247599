"""umbench: is this generator any good, and how sure are we?"""

__version__ = "0.1.0"
