"""The promises of what is committed here, checked with Python's own library: python -m unittest

The packages are consistent, their archives hold exactly the packages, the
held-out frames are complete and small, and table and picture show the counts.
What the counts are is recomputed by `tests/promises/accuracy.rs`.
"""

import gzip
import json
import struct
import tarfile
import unittest
from collections import Counter

import pack
import scores
from labels import LABELS

FRAMES = pack.HERE / "frames"
README = (pack.HERE.parent / "README.md").read_text()
LARGEST_MODEL = {pack.FLOAT: 1_500_000, pack.INT8: 250_000}


class Package(unittest.TestCase):
    def test_every_file_has_the_digest_that_the_manifest_lists(self):
        for package in pack.PACKAGES:
            pack.check_digests(package)

    def test_the_labels_are_those_the_model_was_trained_with(self):
        for package in pack.PACKAGES:
            self.assertEqual((package / "labels.txt").read_text().splitlines(), list(LABELS))

    def test_the_models_are_small(self):
        for package, limit in LARGEST_MODEL.items():
            self.assertLessEqual((package / pack.manifest(package)["model"]["file"]).stat().st_size, limit)


class Archive(unittest.TestCase):
    def test_packing_again_gives_the_same_bytes(self):
        # The tar is compared, not the gzip stream: zlib's successors compress differently.
        for package in pack.PACKAGES:
            self.assertEqual(gzip.decompress(pack.archive_of(package).read_bytes()), pack.archive(package))

    def test_it_opens_with_its_parent_directory(self):
        for package in pack.PACKAGES:
            with tarfile.open(pack.archive_of(package)) as tar:
                first, *rest = tar.getmembers()
            self.assertTrue(first.isdir())
            self.assertEqual(first.name, pack.full_name(package))
            self.assertTrue(all(entry.name.startswith(f"{first.name}/") for entry in rest))

    def test_its_digest_is_published_beside_it_and_in_the_readme(self):
        for package in pack.PACKAGES:
            archive = pack.archive_of(package)
            digest = pack.sha256(archive.read_bytes())
            published = (pack.HERE / f"{archive.name}.sha256").read_text()
            self.assertEqual(published, f"{digest}  {archive.name}\n")
            self.assertIn(digest, README)


class Frames(unittest.TestCase):
    TRUTH = json.loads((FRAMES / "truth.json").read_text())

    def test_every_frame_has_a_label_and_every_class_has_forty_frames(self):
        self.assertEqual(sorted(self.TRUTH), sorted(path.name for path in FRAMES.glob("*.jpg")))
        self.assertEqual(Counter(self.TRUTH.values()), Counter(dict.fromkeys(LABELS, 40)))

    def test_no_frame_is_there_twice(self):
        digests = {pack.sha256((FRAMES / name).read_bytes()) for name in self.TRUTH}
        self.assertEqual(len(digests), len(self.TRUTH))

    def test_they_are_small(self):
        sizes = [(FRAMES / name).stat().st_size for name in self.TRUTH]
        self.assertLessEqual(max(sizes), 12 * 1024)
        self.assertLessEqual(sum(sizes), 4_100_000)


class Scores(unittest.TestCase):
    def test_they_are_of_the_committed_frames_and_packages(self):
        committed = scores.load()
        self.assertEqual(list(committed), [pack.manifest(package)["model"]["name"] for package in pack.PACKAGES])
        for score in committed.values():
            self.assertEqual({label: score.shown(label) for label in LABELS}, Counter(Frames.TRUTH.values()))

    def test_the_readme_shows_the_table_that_they_make(self):
        self.assertIn(scores.table(scores.load()), README)

    def test_the_picture_was_drawn_from_them(self):
        self.assertIn(b"counts\0" + scores.digest().encode(), texts(pack.HERE / "confusion.png"))


def texts(file) -> list[bytes]:
    """The text chunks of a PNG file."""
    content, found, at = file.read_bytes(), [], 8
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"tEXt":
            found.append(content[at + 8 : at + 8 + length])
        at += 12 + length
    return found


if __name__ == "__main__":
    unittest.main()
