# Draws a run: gnuplot -c demo.gp FOLDER FILE.png RECORDED.csv
# Above: training loss, thin and smoothed, and validation loss, beside that of recorded runs of the same length with other
# methods. Below: the learning rate, with a line at each restart.

set terminal pngcairo size 1200,900 font "DejaVu Sans,12"
run = ARG1
set output ARG2
recorded = ARG3
set datafile separator ","
set key autotitle columnhead

train = run."/train.csv"
eval  = run."/eval.csv"

# An exponential mean of the training loss, over about 10 steps.
mean = NaN
smooth(x) = (mean = (mean == mean) ? 0.9 * mean + 0.1 * x : x)

# How far the run went, how low the loss, and where the restarts were.
stats train using 1 nooutput
last = STATS_max
array at[STATS_records]
restarts = 0
note(step, event) = (event eq "restart" ? (restarts = restarts + 1, at[restarts] = step) : 0)
stats train using (note($1, stringcolumn(8)), $2) nooutput
low = STATS_min
do for [i=1:restarts] {
    set arrow from at[i], graph 0 to at[i], graph 1 nohead dashtype 2 linecolor rgb "#b03030"
}

set multiplot
set grid linetype 1 linecolor rgb "#e4e4e4"
set lmargin 10
set rmargin 5
set xrange [0:last]

set origin 0, 0.38
set size 1, 0.62
set title "Pre-training with librelora"
set ylabel "loss (nats per token)"
set yrange [floor(low * 5) / 5.0 : low + 1.5]
set format x ""
set key top right
plot train using 1:2 with lines linewidth 1 linecolor rgb "#b8cfe8" title "training", \
     train using 1:(smooth($2)) with lines linewidth 2 linecolor rgb "#1f5fa8" title "training, smoothed", \
     eval using 1:2 with linespoints linewidth 2 pointtype 7 pointsize 1.1 linecolor rgb "#e08020" \
       title "validation", \
     recorded using 1:2 with lines linewidth 2 linecolor rgb "#404040" title "recorded validation: full rank, AdamW", \
     recorded using 1:3 with lines linewidth 2 linecolor rgb "#a060b0" title "recorded validation: LoRA", \
     recorded using 1:4 with lines linewidth 2 linecolor rgb "#50a050" title "recorded validation: ReLoRA as published", \
     NaN with lines dashtype 2 linecolor rgb "#b03030" title (restarts ? "restart: merge and reset" : "")

set origin 0, 0
set size 1, 0.38
unset title
unset key
set format x
set format y "%.0e"
set xlabel "step"
set ylabel "learning rate"
set yrange [0:*]
plot train using 1:3 with lines linewidth 2 linecolor rgb "#2f7f4f" notitle
unset multiplot
