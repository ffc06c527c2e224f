//! Strided views over `f32` buffers and the one product the trainer is made of.
//!
//! Everything is row-major; a view may start at a column of a wider buffer, which lets the query,
//! key and value projections share one buffer and one product.

use gemm::Parallelism;

/// A read-only matrix over a slice.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A writable matrix over a slice; its columns are always contiguous.
pub(crate) struct ViewMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

/// What a product does to the values already in its destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// Overwrites them.
    Replace,
    /// Adds to them.
    Add,
}

impl<'a> View<'a> {
    /// A dense `rows` × `columns` matrix.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Rows of `columns` values, `stride` apart, starting at the front of `data`.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert_fits(data.len(), rows, columns, stride);
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// Some of the rows.
    pub(crate) fn rows(self, rows: std::ops::Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "no such rows");
        Self { data: &self.data[(rows.start * self.row_stride).min(self.data.len())..], rows: rows.len(), ..self }
    }

    /// One row of a matrix whose columns are contiguous.
    pub(crate) fn row(self, row: usize) -> &'a [f32] {
        assert_eq!(self.column_stride, 1, "a transposed row is not contiguous");
        &self.data[row * self.row_stride..][..self.columns]
    }

    /// The transpose, without moving a value.
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

impl<'a> ViewMut<'a> {
    /// A dense `rows` × `columns` matrix.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Rows of `columns` values, `stride` apart, starting at the front of `data`.
    pub(crate) fn strided(data: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert_fits(data.len(), rows, columns, stride);
        Self { data, rows, columns, row_stride: stride }
    }
}

fn assert_fits(length: usize, rows: usize, columns: usize, stride: usize) {
    assert!(columns <= stride, "a row is longer than its stride");
    let needed = if rows == 0 { 0 } else { (rows - 1) * stride + columns };
    assert!(needed <= length, "a view reaches past its buffer");
}

/// `target (+)= scale · lhs · rhs`, on the threads of the current rayon pool.
pub(crate) fn multiply(
    target: ViewMut<'_>,
    into: Into,
    scale: f32,
    lhs: View<'_>,
    rhs: View<'_>,
    parallelism: Parallelism,
) {
    assert_eq!(lhs.columns, rhs.rows, "inner dimensions differ");
    assert_eq!(target.rows, lhs.rows, "row counts differ");
    assert_eq!(target.columns, rhs.columns, "column counts differ");
    if target.rows == 0 || target.columns == 0 {
        return;
    }
    // SAFETY: the constructors checked that each view stays inside its slice, the shapes were
    // compared above, and the destination is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            target.rows,
            target.columns,
            lhs.columns,
            target.data.as_mut_ptr(),
            1,
            target.row_stride as isize,
            into == Into::Add,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0f32,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_add_scale_transpose_and_respect_strides() {
        // lhs is 2×3, inside rows of 4; rhs is 2×3 and used transposed.
        let lhs = [1.0, 2.0, 3.0, 99.0, 4.0, 5.0, 6.0, 99.0];
        let rhs = [1.0, 0.0, 1.0, 0.0, 2.0, 0.0];
        let mut target = [10.0, 10.0, 7.0, 10.0, 10.0, 7.0];
        multiply(
            ViewMut::strided(&mut target, 2, 2, 3),
            Into::Add,
            2.0,
            View::strided(&lhs, 2, 3, 4),
            View::new(&rhs, 2, 3).t(),
            Parallelism::None,
        );
        assert_eq!(target, [18.0, 18.0, 7.0, 30.0, 30.0, 7.0]);
        multiply(
            ViewMut::strided(&mut target, 2, 2, 3),
            Into::Replace,
            1.0,
            View::strided(&lhs, 2, 3, 4),
            View::new(&rhs, 2, 3).t(),
            Parallelism::None,
        );
        assert_eq!(target, [4.0, 4.0, 7.0, 10.0, 10.0, 7.0]);
    }

    #[test]
    #[should_panic(expected = "past its buffer")]
    fn a_view_past_its_buffer_is_refused() {
        View::new(&[0.0; 5], 2, 3);
    }
}
