//! Making a ring's memory, and shutting out everybody who might write to it later.
//!
//! Both run in the core, before any frame: [`create`], then, once the capture worker has mapped the ring,
//! [`seal_against_new_writers`].

use std::io;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fchmod, fcntl_add_seals, ftruncate, memfd_create, open};
use rustix::io::Errno;
use thiserror::Error;

use super::geometry::{GeometryFault, RingGeometry};
use super::header::{Header, HeaderFault, MOST_SEQUENCE};
use super::layout;
use super::mapping::{MapFault, Mapping, ReadWrite};

/// Makes an empty ring whose first frame will have the number `first_sequence`.
///
/// The memory is a memfd, close-on-exec, of a fixed length from the start (`F_SEAL_SHRINK`, `F_SEAL_GROW`), and
/// readable by its owner only, so that nobody can open it for writing through `/proc`. Pages are taken when they are
/// first written, and charged to the memory group of the writer.
///
/// # Errors
/// [`RingError::Geometry`] and [`RingError::FirstSequence`] for numbers outside the limits, [`RingError::Create`]
/// where the kernel refuses the memory.
pub fn create(geometry: RingGeometry, first_sequence: u64) -> Result<OwnedFd, RingError> {
    geometry.check().map_err(RingError::Geometry)?;
    if first_sequence > MOST_SEQUENCE {
        return Err(RingError::FirstSequence { first_sequence, most: MOST_SEQUENCE });
    }
    let failed = |step| move |errno: Errno| RingError::Create { step, source: errno.into() };
    let memory = memfd().map_err(failed("memfd_create"))?;
    ftruncate(&memory, layout::ring_bytes(&geometry)).map_err(failed("ftruncate"))?;
    fchmod(&memory, Mode::RUSR).map_err(failed("fchmod"))?;
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).map_err(failed("F_ADD_SEALS"))?;
    Header { geometry, first_sequence }.write(&Mapping::<ReadWrite>::new(&memory)?);
    Ok(memory)
}

/// A memfd that can be sealed, not executable where the kernel knows that (Linux 6.3; `vm.memfd_noexec` may ask it).
fn memfd() -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create("margay-ring", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("margay-ring", flags),
        outcome => outcome,
    }
}

/// Shuts out new writers and gives what readers may have.
///
/// To be called when the writer has mapped the ring: its mapping stays. From Linux 5.1 on the kernel then refuses
/// every further writable mapping and every write, through any descriptor (`F_SEAL_FUTURE_WRITE`), and no seal can be
/// added (`F_SEAL_SEAL`). Older kernels cannot do that; there the descriptor returned is only open for reading, which
/// the kernel holds against the process that receives it, and [`ReaderHandle::exclusion`] says so.
///
/// # Errors
/// [`RingError::Seal`] where sealing fails although the kernel knows it, or the read-only descriptor cannot be opened
/// on a kernel that has nothing better.
pub fn seal_against_new_writers(ring: impl AsFd) -> Result<ReaderHandle, RingError> {
    let ring = ring.as_fd();
    match fcntl_add_seals(ring, SealFlags::FUTURE_WRITE | SealFlags::SEAL) {
        Ok(()) => {
            // Where /proc is not mounted a second descriptor of the sealed file serves as well.
            let fd = open_read_only(ring).or_else(|_| rustix::io::fcntl_dupfd_cloexec(ring, 3));
            let fd = fd.map_err(|errno| RingError::Seal { step: "dup", source: errno.into() })?;
            Ok(ReaderHandle { fd, exclusion: Exclusion::Sealed })
        }
        Err(Errno::INVAL) => read_only_handle(ring),
        Err(errno) => Err(RingError::Seal { step: "F_ADD_SEALS", source: errno.into() }),
    }
}

/// What readers get on a kernel without `F_SEAL_FUTURE_WRITE`.
fn read_only_handle(ring: impl AsFd) -> Result<ReaderHandle, RingError> {
    let sealed = |step| move |errno: Errno| RingError::Seal { step, source: errno.into() };
    fcntl_add_seals(&ring, SealFlags::SEAL).map_err(sealed("F_ADD_SEALS"))?;
    let fd = open_read_only(ring).map_err(sealed("open /proc/self/fd"))?;
    Ok(ReaderHandle { fd, exclusion: Exclusion::ReadOnlyDescriptor })
}

fn open_read_only(ring: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", ring.as_fd().as_raw_fd());
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// A descriptor of a ring that readers can be given, and what keeps them from writing.
#[derive(Debug)]
pub struct ReaderHandle {
    fd: OwnedFd,
    exclusion: Exclusion,
}

impl ReaderHandle {
    /// What keeps its holder from writing into the ring.
    #[must_use]
    pub fn exclusion(&self) -> Exclusion {
        self.exclusion
    }

    /// The descriptor, to be sent to a reader.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for ReaderHandle {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What keeps the holder of a [`ReaderHandle`] from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// The ring is sealed: the kernel refuses any new way to write, whoever asks and by whatever descriptor.
    Sealed,
    /// The descriptor is open for reading only. A process of the ring's owner that holds the core's own descriptor
    /// could still write (kernel older than 5.1).
    ReadOnlyDescriptor,
}

/// A ring could not be made, sealed or mapped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RingError {
    /// The size asked for is outside the limits.
    #[error("cannot make a ring of that size")]
    Geometry(#[source] GeometryFault),
    /// The first sequence asked for leaves no room for frames.
    #[error("cannot make a ring that starts at frame {first_sequence}, the highest is {most}")]
    FirstSequence {
        /// The number asked for.
        first_sequence: u64,
        /// The highest allowed.
        most: u64,
    },
    /// The kernel did not give the memory.
    #[error("cannot make the ring's memory: {step} failed")]
    Create {
        /// The system call.
        step: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel did not seal the memory, or give a read-only descriptor of it.
    #[error("cannot shut out new writers from the ring: {step} failed")]
    Seal {
        /// The system call.
        step: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel did not map the memory; for a writer, `EPERM` means that the ring is sealed against new ones.
    #[error("cannot map the ring")]
    Map(#[source] io::Error),
    /// What was given is not a memfd sealed against shrinking: mapping it would let another process kill this one.
    #[error("cannot map the ring: the descriptor is no memory sealed against shrinking")]
    NotSealed,
    /// What was given is no ring, or none this program can read.
    #[error("cannot map the ring: its header is refused")]
    Header(#[source] HeaderFault),
    /// The ring had a writer before; each writer gets a ring of its own.
    #[error("cannot write into the ring: it already had a writer, and each one needs a new ring")]
    SecondWriter,
}

impl From<MapFault> for RingError {
    fn from(fault: MapFault) -> Self {
        match fault {
            MapFault::System(error) => Self::Map(error),
            MapFault::CanShrink => Self::NotSealed,
            MapFault::Length(length) => {
                Self::Header(HeaderFault::Length { length, expected: layout::HEADER_BYTES as u64 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use rustix::fs::fcntl_get_seals;

    use super::*;
    use crate::ring::{RingReader, RingWriter};

    const GEOMETRY: RingGeometry = RingGeometry { slots: 2, slot_bytes: 64 };

    fn errno(outcome: Result<RingWriter, RingError>) -> Errno {
        match outcome {
            Err(RingError::Map(error)) => Errno::from_io_error(&error).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_length_of_a_ring_never_changes() {
        let ring = File::from(create(GEOMETRY, 0).unwrap());
        assert!(ring.set_len(0).is_err());
        assert!(ring.set_len(1 << 20).is_err());
    }

    #[test]
    fn nobody_new_can_write_into_a_sealed_ring() {
        let ring = create(GEOMETRY, 0).unwrap();
        let writer = RingWriter::map(&ring).unwrap();
        let handle = seal_against_new_writers(&ring).unwrap();
        if handle.exclusion() == Exclusion::Sealed {
            assert_eq!(errno(RingWriter::map(&ring)), Errno::PERM, "through the descriptor that made it");
            assert!(fcntl_get_seals(&ring).unwrap().contains(SealFlags::SEAL | SealFlags::FUTURE_WRITE));
            let ring = File::from(ring);
            assert!(ring.write_all_at(&[0], 0).is_err());
            assert!(fcntl_add_seals(&ring, SealFlags::WRITE).is_err(), "no seal can be added");
        }
        assert!(
            matches!(errno(RingWriter::map(&handle)), Errno::ACCESS | Errno::PERM),
            "through a reader's descriptor"
        );
        RingReader::map(&handle).unwrap();
        drop(writer);
    }

    #[test]
    fn without_the_seal_readers_get_a_descriptor_that_cannot_write() {
        let ring = create(GEOMETRY, 0).unwrap();
        let handle = read_only_handle(&ring).unwrap();
        assert_eq!(handle.exclusion(), Exclusion::ReadOnlyDescriptor);
        assert_eq!(errno(RingWriter::map(&handle)), Errno::ACCESS);
        RingReader::map(handle.into_fd()).unwrap();
        RingWriter::map(&ring).unwrap();
    }

    #[test]
    fn a_file_that_could_shrink_is_not_mapped() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        assert!(matches!(RingReader::map(&file), Err(RingError::NotSealed)));
        let memory = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&memory, 4096).unwrap();
        assert!(matches!(RingReader::map(&memory), Err(RingError::NotSealed)));
        let directory = File::open("/").unwrap();
        assert!(matches!(RingReader::map(&directory), Err(RingError::NotSealed)));
    }

    #[test]
    fn a_ring_takes_one_writer_in_its_life() {
        let ring = create(GEOMETRY, 0).unwrap();
        drop(RingWriter::map(&ring).unwrap());
        assert!(matches!(RingWriter::map(&ring), Err(RingError::SecondWriter)));
    }

    #[test]
    fn numbers_outside_the_limits_make_no_ring() {
        let none = RingGeometry { slots: 0, slot_bytes: 64 };
        assert!(matches!(create(none, 0), Err(RingError::Geometry(GeometryFault::Slots { slots: 0, .. }))));
        assert!(matches!(create(GEOMETRY, MOST_SEQUENCE + 1), Err(RingError::FirstSequence { .. })));
        create(GEOMETRY, MOST_SEQUENCE).unwrap();
    }
}
