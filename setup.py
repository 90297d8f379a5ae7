"""The build step that pyproject.toml cannot say: grammar/ and targets/ travel in the wheel as mncc/_data."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
DATA = {"grammar": ("*.lark", "*.mn"), "targets": ("*.toml", "tuned/*.json")}


class BuildWithData(build_py):
    """Copies the data folders beside the built modules; an editable install reads them from the checkout."""

    def _data(self):
        for folder, patterns in DATA.items():
            for pattern in patterns:
                for source in sorted((HERE / folder).glob(pattern)):
                    yield source, Path(self.build_lib, "mncc", "_data", source.relative_to(HERE))

    def run(self):
        super().run()
        if not self.editable_mode:
            for source, target in self._data():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else outputs + [str(target) for _, target in self._data()]


setup(cmdclass={"build_py": BuildWithData})
