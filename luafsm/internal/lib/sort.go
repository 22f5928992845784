package lib

// elementBytes is charged for an element of the copy that MergeSort makes: what
// a Lua value takes on 64-bit machines, and the same on all.
const elementBytes = 16

// MergeSort sorts a by less, keeping the order of equal elements.
//
// It makes at most n*ceil(log2 n) comparisons whatever less answers, so a
// comparator that contradicts itself gives some order and no error. When less
// or the Meter fails, a holds its elements in some order and the error is
// returned.
func MergeSort[T any](m Meter, a []T, less func(a, b T) (bool, error)) error {
	if len(a) < 2 {
		return nil
	}
	if err := m.Bytes(len(a) * elementBytes); err != nil {
		return err
	}
	src, dst := a, make([]T, len(a))
	for width := 1; width < len(a); width *= 2 {
		for lo := 0; lo < len(a); lo += 2 * width {
			mid, hi := min(lo+width, len(a)), min(lo+2*width, len(a))
			if err := m.Steps(hi - lo); err != nil {
				copy(a, src)
				return err
			}
			if err := merge(dst[lo:hi], src[lo:mid], src[mid:hi], less); err != nil {
				// src is whole; dst may hold an element twice.
				copy(a, src)
				return err
			}
		}
		src, dst = dst, src
	}
	copy(a, src)
	return nil
}

// merge fills dst from the sorted runs x and y; of equal elements those of x
// come first.
func merge[T any](dst, x, y []T, less func(a, b T) (bool, error)) error {
	for len(x) > 0 && len(y) > 0 {
		yFirst, err := less(y[0], x[0])
		if err != nil {
			return err
		}
		if yFirst {
			dst[0], y = y[0], y[1:]
		} else {
			dst[0], x = x[0], x[1:]
		}
		dst = dst[1:]
	}
	copy(dst[copy(dst, x):], y)
	return nil
}
