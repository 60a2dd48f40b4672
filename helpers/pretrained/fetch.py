"""Bring the files of somebody else's model, from the hub or from a folder.

Support code, not built in a lesson. huggingface_hub is imported only when a
download begins.
"""

import shutil

from helpers.pretrained.folders import LLAMA2C, TENSORS
from helpers.runs.files import brief

MODELS = {  # name: repository and folder on the hub, and the files in it
    "gpt2": (
        "openai-community/gpt2",
        "",
        (TENSORS, "config.json", "vocab.json", "merges.txt"),
    ),
    "stories260K": ("karpathy/tinyllamas", "stories260K", LLAMA2C),
}


def fetch(name, folder, source=None):
    """Put the files of a model of MODELS into an empty folder.

    source: a folder to copy from; None downloads, with a progress bar.
    Raises OSError, in one sentence, if a file is not there.
    """
    repository, inside, files = MODELS[name]
    if source is None:
        return download(repository, inside, files, folder)
    if (source / "tokenizer.json").exists() and name == "gpt2":
        files = (*files[:2], "tokenizer.json")
    for file in files:
        if not (source / file).is_file():
            raise FileNotFoundError(
                f"there is no {source / file}; --from wants a folder with "
                f"{', '.join(files)}"
            )
        shutil.copyfile(source / file, folder / file)


def download(repository, inside, files, folder):
    """Download files of a repository to a folder, with progress bars."""
    from huggingface_hub import hf_hub_download

    try:
        for file in files:
            path = hf_hub_download(
                repository, file, subfolder=inside or None, local_dir=folder
            )
            if inside:
                shutil.move(path, folder / file)
    except Exception as error:  # of several HTTP libraries, not all OSError
        raise OSError(
            f"{repository} did not arrive ({brief(error)}); try again, or "
            "take a folder with FROM="
        ) from None
    for left in (inside, ".cache"):  # what the hub's client keeps there
        if left:
            shutil.rmtree(folder / left, ignore_errors=True)
