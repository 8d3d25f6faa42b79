"""What pyproject.toml cannot say: the C core, and the data rooms that a wheel carries."""

from pathlib import Path
from runpy import run_path
from shutil import rmtree

from setuptools import setup
from setuptools.command.build_py import build_py

DATA_ROOMS = ("schemas", "profiles", "compat")


class BuildPyWithData(build_py):
    """Copies the data rooms into the package; an editable install reads them where they are."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if self.editable_mode:
            return
        # setuptools reuses build/: what was deleted from a room must not survive into a wheel.
        rmtree(Path(self.build_lib, "stratovirt", "data"), ignore_errors=True)
        for room in DATA_ROOMS:
            for source in sorted(path for path in Path(room).rglob("*") if path.is_file()):
                target = Path(self.build_lib, "stratovirt", "data", source)
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))
        self._write_image()

    def _write_image(self) -> None:
        """Write the image that a start reads (stratovirt/image.py), for the Python that builds the wheel."""
        scope = run_path("stratovirt/image.py", run_name="image")
        target = Path(self.build_lib, "stratovirt", scope["NAME"])
        target.write_bytes(scope["build"]("stratovirt", "stratovirt", final=True))


setup(
    cffi_modules=["stratovirt/core/build.py:ffibuilder"],
    cmdclass={"build_py": BuildPyWithData},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
