"""What pyproject.toml cannot say: the C core, the launcher, and the data rooms that a wheel carries."""

import sys
from pathlib import Path
from shutil import rmtree

from setuptools import Command, setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))  # who builds a package does not look here by himself

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
        from stratovirt.image import NAME
        from stratovirt.launcher import image_writer

        target = Path(self.build_lib, "stratovirt", NAME)
        target.write_bytes(image_writer.build("stratovirt", "stratovirt", final=True))


class BuildCommand(Command):
    """Makes the `stratovirt` command (stratovirt/launcher), in the place of setuptools' script."""

    editable_mode = False
    user_options = ()

    def initialize_options(self) -> None:
        """Nothing is known yet."""
        self.build_dir = None

    def finalize_options(self) -> None:
        """Take the folder that `build` has for scripts, from which they are installed."""
        self.set_undefined_options("build", ("build_scripts", "build_dir"))

    def run(self) -> None:
        """Build it, for a package that stays here or goes beside other packages."""
        from stratovirt.launcher.build import build

        self.mkpath(self.build_dir)
        package = str(Path("stratovirt").absolute()) if self.editable_mode else ""
        build(Path(self.build_dir, "stratovirt"), package)

    def get_source_files(self) -> list[str]:
        """Return what a source archive needs for it."""
        return sorted(str(path) for path in Path("stratovirt/launcher").glob("*.[ch]"))


setup(
    cffi_modules=["stratovirt/core/build.py:ffibuilder"],
    cmdclass={"build_py": BuildPyWithData, "build_scripts": BuildCommand},
    scripts=["stratovirt/launcher/launcher.c"],  # that there are any: BuildCommand makes it
)
