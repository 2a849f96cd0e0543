from hypothesis import settings

# The machine decides how long an example takes, the seed which examples: never a test's outcome.
settings.register_profile("ken", deadline=None, derandomize=True, max_examples=100, database=None)
settings.load_profile("ken")
