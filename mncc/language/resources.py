"""Where the data files are that travel with the package: grammar/ and targets/."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def data_folder(name: str) -> Path:
    """The folder `grammar` or `targets`: inside an installed wheel, else beside the package in a checkout.

    Raises FileNotFoundError where the installation lacks it.
    """
    for folder in (PACKAGE / "_data" / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"this installation of mncc lacks its {name} folder; install it again")
