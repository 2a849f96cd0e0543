import gc

import pytest
from hypothesis import HealthCheck, settings

# Programs of a process of their own: importing them for doctests would give this one a device that torch cannot forget.
collect_ignore = ["far_checks.py", "far_device.py"]

# The machine decides how long an example takes, the seed which examples: never a test's outcome.
settings.register_profile(
    "ken",
    deadline=None,
    derandomize=True,
    max_examples=100,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ken")


@pytest.fixture
def pair():
    """A small pair of models, as state dicts."""
    from kenviz_models import small_pair

    return small_pair()


@pytest.fixture
def net(pair):
    """Half of every row of the small pair."""
    import ken

    return ken.prune(*pair, 0.5)


@pytest.fixture(scope="session")
def dask_client():
    """A client of two workers of Dask, processes with a thread each: it takes seconds, so there is one."""
    import logging

    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1, "distributed.deploy.lost-worker-timeout": "1h"}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def pytest_collection_finish():
    """What was imported until now stays: the collector need not look through torch and transformers every time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
