"""Fetch TinyStories from the Hugging Face hub.

Support code, not built in a lesson. datasets is imported only when a
download begins.
"""

import contextlib
import os
import socket
import threading
from itertools import islice
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tqdm.auto import tqdm

from helpers.stories.files import trim
from helpers.tinystories import END_OF_TEXT

HUB = "https://huggingface.co"
PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
STORIES = "hf://datasets/roneneldan/TinyStories/TinyStoriesV2-GPT4-train.txt"


def hub_reachable(seconds=2):
    """Say within so many seconds whether the hub can be reached.

    Looks at HF_ENDPOINT instead where that is set, at the proxy where there
    is one, and nowhere where HF_HUB_OFFLINE is set.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0") != "0":
        return False
    found = threading.Event()

    def look():  # in a thread: looking up the name has no time limit
        with (
            contextlib.suppress(OSError, ValueError),  # unknown; no address
            socket.create_connection(gate(), timeout=seconds),
        ):
            found.set()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    return found.is_set()


def gate():
    """Return the host and the port that lead to the hub.

    Those of a proxy, where the environment names one for it.
    """
    hub = urlsplit(os.environ.get("HF_ENDPOINT", HUB))
    proxies = getproxies()
    proxy = proxies.get(hub.scheme) or proxies.get("all")
    place = hub
    if proxy and not proxy_bypass(hub.hostname or ""):
        place = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return place.hostname, place.port or PORTS.get(place.scheme, 443)


def download_stories(n, data_files=STORIES):
    """Stream the first n stories of a text file, with a progress bar.

    data_files may be a local path too. A read that stalls for ten seconds
    is tried again by datasets, up to twenty times. Raises OSError.
    """
    from datasets import load_dataset

    try:
        lines = load_dataset(
            "text", data_files=data_files, split="train", streaming=True
        )
        stories = group_stories(row["text"] for row in lines)
        first = islice(stories, n)
        return list(tqdm(first, "TinyStories", total=n, unit=" stories"))
    except Exception as error:  # of several HTTP libraries, not all OSError
        reason = " ".join(str(error).split())
        raise OSError(
            f"TinyStories did not arrive ({reason}); try again, or take a file"
        ) from None


def group_stories(lines):
    """Yield stories from lines of text; <|endoftext|> ends each."""
    held = []
    for line in lines:
        *ends, rest = line.split(END_OF_TEXT)
        for end in ends:
            held.append(end)
            yield from story_of(held)
            held = []
        held.append(rest)
    yield from story_of(held)


def story_of(lines):
    """Return a list of the one story in lines, or of none."""
    story = trim("\n".join(lines))
    return [story] if story else []
