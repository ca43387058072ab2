//! Colour at half the resolution, made as dense as the pixels it belongs to.

#[inline(always)]
pub(super) fn pick(row: &[u8], step: usize, out: &mut [u8]) {
    match step {
        2 => pick_by::<2>(row, out),
        _ => row.iter().step_by(step.max(1)).zip(out).for_each(|(&byte, out)| *out = byte),
    }
}

#[inline(always)]
fn pick_by<const STEP: usize>(row: &[u8], out: &mut [u8]) {
    let (groups, rest) = row.as_chunks::<STEP>();
    let (out, last) = out.split_at_mut(groups.len().min(out.len()));
    for (out, group) in out.iter_mut().zip(groups) {
        *out = group[0];
    }
    if let (Some(out), Some(&byte)) = (last.first_mut(), rest.first()) {
        *out = byte;
    }
}

#[inline(always)]
pub(super) fn sum_of_four(near: &[u8], far: &[u8], step: usize, out: &mut [i16]) {
    match step {
        1 => sum_by::<1>(near, far, out),
        2 => sum_by::<2>(near, far, out),
        4 => sum_by::<4>(near, far, out),
        _ => {
            for ((&near, &far), out) in near.iter().zip(far).step_by(step.max(1)).zip(out) {
                *out = sum(near, far);
            }
        }
    }
}

#[inline(always)]
fn sum_by<const STEP: usize>(near: &[u8], far: &[u8], out: &mut [i16]) {
    let ((near, near_rest), (far, far_rest)) = (near.as_chunks::<STEP>(), far.as_chunks::<STEP>());
    let (out, last) = out.split_at_mut(near.len().min(out.len()));
    for ((near, far), out) in near.iter().zip(far).zip(out) {
        *out = sum(near[0], far[0]);
    }
    if let (Some(out), Some(&near), Some(&far)) = (last.first_mut(), near_rest.first(), far_rest.first()) {
        *out = sum(near, far);
    }
}

#[inline(always)]
fn sum(near: u8, far: u8) -> i16 {
    3 * i16::from(near) + i16::from(far)
}

#[inline(always)]
pub(super) fn fill_own(sums: &[i16], out: &mut [i16]) {
    for (out, &sum) in out.iter_mut().zip(&sums[1..]) {
        *out = 4 * sum;
    }
}

#[inline(always)]
pub(super) fn fill_repeated(sums: &[i16], out: &mut [i16]) {
    for (out, &sum) in out.as_chunks_mut::<2>().0.iter_mut().zip(&sums[1..]) {
        *out = [4 * sum; 2];
    }
}

#[inline(always)]
pub(super) fn fill_blended(sums: &[i16], out: &mut [i16]) {
    let pairs = out.as_chunks_mut::<2>().0.iter_mut();
    for (((out, &before), &own), &after) in pairs.zip(sums).zip(&sums[1..]).zip(&sums[2..]) {
        *out = [3 * own + before, 3 * own + after];
    }
}
