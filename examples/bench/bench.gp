# Draws bench.json: gnuplot -c bench.gp bench.json FILE.png
# A row of it is a line of text, which gnuplot takes apart at the quotation marks: the name is column 4,
# the value column 7, the target column 13.
