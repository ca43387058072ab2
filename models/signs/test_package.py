"""The promises of what is committed here, checked with Python's own library: python -m unittest

The package is consistent, its archive holds exactly the package, and the
held-out frames are complete and small.
"""

import gzip
import json
import tarfile
import tomllib
import unittest

import pack
from labels import LABELS

MANIFEST = tomllib.loads((pack.PACKAGE / "model.toml").read_text())
NAME = f"{MANIFEST['model']['name']}-{MANIFEST['model']['version']}"
ARCHIVE = pack.HERE / f"{NAME}.tar.gz"
FRAMES = pack.HERE / "frames"


class Package(unittest.TestCase):
    def test_every_file_has_the_digest_that_the_manifest_lists(self):
        pack.check_digests(MANIFEST)

    def test_the_labels_are_those_the_model_was_trained_with(self):
        self.assertEqual((pack.PACKAGE / "labels.txt").read_text().splitlines(), list(LABELS))

    def test_the_model_is_at_most_a_megabyte_and_a_half(self):
        self.assertLessEqual((pack.PACKAGE / "signs.onnx").stat().st_size, 1_500_000)


class Archive(unittest.TestCase):
    def test_packing_again_gives_the_same_bytes(self):
        # The tar is compared, not the gzip stream: zlib's successors compress differently.
        self.assertEqual(gzip.decompress(ARCHIVE.read_bytes()), pack.archive(NAME))

    def test_it_opens_with_its_parent_directory(self):
        with tarfile.open(ARCHIVE) as tar:
            first, *rest = tar.getmembers()
        self.assertTrue(first.isdir())
        self.assertEqual(first.name, NAME)
        self.assertTrue(all(entry.name.startswith(f"{NAME}/") for entry in rest))

    def test_its_digest_is_published_beside_it_and_in_the_readme(self):
        digest = pack.sha256(ARCHIVE.read_bytes())
        published = (pack.HERE / f"{ARCHIVE.name}.sha256").read_text()
        self.assertEqual(published, f"{digest}  {ARCHIVE.name}\n")
        self.assertIn(digest, (pack.HERE.parent / "README.md").read_text())


class Frames(unittest.TestCase):
    TRUTH = json.loads((FRAMES / "truth.json").read_text())

    def test_every_frame_has_a_label_that_the_model_knows(self):
        self.assertEqual(sorted(self.TRUTH), sorted(path.name for path in FRAMES.glob("*.jpg")))
        self.assertLessEqual(set(self.TRUTH.values()), set(LABELS))

    def test_there_are_enough_frames_and_they_are_small(self):
        sizes = [(FRAMES / name).stat().st_size for name in self.TRUTH]
        self.assertGreaterEqual(len(sizes), 480)
        self.assertLessEqual(max(sizes), 12 * 1024)
        self.assertLessEqual(sum(sizes), 4_100_000)


if __name__ == "__main__":
    unittest.main()
