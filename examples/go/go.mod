module relora

go 1.19
