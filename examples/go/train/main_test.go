package main

import (
	"bytes"
	"os"
	"testing"
)

// The trainer gives what examples/train.txt says, to the last digit, as in every language. A library that is broken
// is noticed here: `make check-go` runs this test with one as well.
func TestSameInEveryLanguage(t *testing.T) {
	want, err := os.ReadFile("../../train.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := run(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
	}
}
