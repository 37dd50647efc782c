"""Packaging of tfgen: dependencies, extras, console scripts."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "tfgen" / "__init__.py").read_text())
SERVING = ["tensorflow-serving-api>=2.20,<2.22"]
RAY = ["ray[train]>=2.56,<3"]
# Pinned: tf2onnx seeks a maintainer, and `tfgen.nn.overrides` replaces one of its methods.
FORMATS = ["tf2onnx==1.17.0", "onnx>=1.17,<2", "onnxruntime>=1.20,<2"]
DOCS = [
    *FORMATS,
    "properdocs>=1.6.7,<2",
    "mkdocs-material>=9.8,<10",
    "mkdocstrings[python]>=1.0.8,<2",
    "latex2mathml>=3.81,<4",
]
NOTEBOOKS = [
    "jupytext>=1.17,<2",
    "nbformat>=5.10,<6",
    "nbclient>=0.10.2,<0.12",
    "ipykernel>=6.29.5,<8",
]
TESTS = [
    *SERVING,
    *FORMATS,
    *NOTEBOOKS,
    "pytest>=8,<10",
    "pytest-xdist>=3.8,<4",
    "playwright>=1.50,<2",
    "axe-playwright-python>=0.1.8,<0.2",
    "huggingface_hub>=1,<3",
    "scipy>=1.13",
    "ruff>=0.17,<0.18",
    "mypy>=2,<3",
]


class BuildPy(build_py):
    """Leaves out the sources of the notebooks, which are the solutions, and what works on them."""

    def find_package_modules(self, package: str, folder: str) -> list[tuple[str, str, str]]:
        """The modules of a package."""
        modules = super().find_package_modules(package, folder)
        is_part = package != "tfgen.notebooks"
        return [entry for entry in modules if is_part or entry[1].startswith(("_", "check"))]


setup(
    # The name tfgen belongs to another project on PyPI.
    name="tfgen-images",
    cmdclass={"build_py": BuildPy},
    version=VERSION[1] if VERSION else "0",
    description="Deep generative image models in TensorFlow and Keras 3: train, judge, serve",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=[
        *("generative models", "variational autoencoder", "GAN", "normalizing flow"),
        *("TensorFlow", "Keras", "TensorFlow Serving", "image generation"),
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.14",
    # These folders stand at the top of the checkout and are installed inside the package.
    packages=[
        *find_packages(include=["tfgen", "tfgen.*"]),
        "tfgen.cli",
        "tfgen.docs",
        "tfgen.notebooks",
        "tfgen.notebooks.checks",
        "tfgen.saved_models",
    ],
    package_dir={
        "tfgen": "tfgen",
        "tfgen.cli": "cli",
        "tfgen.docs": "docs",
        "tfgen.notebooks": "notebooks",
        "tfgen.saved_models": "saved_models",
    },
    # Version 1 of each sampler is shipped; versions that were trained here are not.
    package_data={
        "tfgen": ["py.typed"],
        "tfgen.data": ["embedded/**"],
        "tfgen.serving": ["page/*", "runtime/*"],
        "tfgen.training": ["*.json"],
        "tfgen.saved_models": ["shipped.config", "*/1/**"],
        # Of the documents, the records that the notebooks show.
        "tfgen.docs": [
            "evaluations/*.json",
            "flow/metrics.jsonl",
            "flow/samples-*.png",
            "train_epoch-*.json",
            "vae-bytes/evaluation.json",
        ],
        "tfgen.notebooks": ["README.md", "assignments/*.ipynb"],
    },
    install_requires=[
        "tensorflow>=2.20,<2.22",
        # Older ones read other files that a .keras file names, and run its SavedModels.
        "keras>=3.15,<4",
        "tensorflow-probability[tf]>=0.25,<0.26",
        # 4.9.9 fails beside protobuf 7.
        "tensorflow-datasets>=4.9.10,<5",
        "tensorboard>=2.20,<2.22",
        "matplotlib>=3.9,<4",
        "numpy>=1.26,<3",
        "pillow>=10.4",
        "rich>=13.8",
        "requests>=2.32.3",
        "urllib3>=2.2",
        # Older ones refuse the Host headers [::1] and LOCALHOST.
        "starlette>=1.9,<2",
        "uvicorn>=0.34,<1",
        "orjson>=3.10.7,<4",
        # tensorflow-datasets imports it when it writes, and does not ask for it.
        "importlib_resources>=6.1",
        # It brings the distutils that tensorflow-probability imports. Python lacks it from 3.12 on,
        # where older ones fail.
        "setuptools>=66.1",
    ],
    extras_require={
        "serving": SERVING,
        "formats": FORMATS,
        "notebooks": NOTEBOOKS,
        "ray": RAY,
        "gpu": ["tensorflow[and-cuda]>=2.20,<2.22"],
        "test": TESTS,
        "bench": ["torch>=2.4", "torchdiffeq>=0.2.4"],
        "docs": DOCS,
        "dev": [*TESTS, *DOCS, "pre-commit>=3", "build>=1"],
    },
    entry_points={
        "console_scripts": [
            "tfgen-train=tfgen.cli.train:main",
            "tfgen-sample=tfgen.cli.sample:main",
            "tfgen-score=tfgen.cli.score:main",
            "tfgen-reconstruct=tfgen.cli.reconstruct:main",
            "tfgen-serve=tfgen.cli.serve:main",
            "tfgen-data=tfgen.cli.data:main",
            "tfgen-export=tfgen.cli.export:main",
            "tfgen-evaluate=tfgen.cli.evaluate:main",
            "tfgen-compare=tfgen.cli.compare:main",
        ]
    },
)
