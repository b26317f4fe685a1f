package main

import (
	"testing"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }
