"""Jobs in threads of their own, as callbacks of widgets and the cell that is executing may be."""

import threading


def at_once(*jobs):
    """Run functions at the same time, each to its end."""
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def set_at_once(view, *traits):
    """Set traits, each given as (name, values) and in a thread of its own, to one value after another."""
    at_once(
        *(lambda name=name, values=values: [setattr(view, name, value) for value in values] for name, values in traits)
    )
