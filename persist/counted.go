package persist

// Counted returns a file system that tells how many bytes are read from its
// files, as they are: for those who wait for long work.
func Counted(f FS, read func(bytes int)) FS { return countedFS{f, read} }

type countedFS struct {
	FS
	read func(bytes int)
}

func (c countedFS) Open(path string) (File, error) {
	f, err := c.FS.Open(path)
	if err != nil {
		return nil, err
	}
	return countedFile{f, c.read}, nil
}

type countedFile struct {
	File
	read func(bytes int)
}

func (f countedFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	f.read(n)
	return n, err
}
