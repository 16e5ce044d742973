# Draws what was measured: gnuplot -c bench.gp FOLDER FILE.png, with bench.json and, if they are there, bench-torch.json
# and bench-cuda.json in FOLDER. A row of them is one line; rows() picks those that match, as name|value|target.

folder = ARG1
set output ARG2
rows(file, pattern) = sprintf("< sed -n 's/.*\"name\": \"\\(%s\\)\", \"value\": \\([^,]*\\), \"unit\": \"[^\"]*\", " . \
  "\"target\": \\([^,}]*\\).*/\\1|\\2|\\3/p' %s/%s", pattern, folder, file)
bench(pattern) = rows("bench.json", pattern)
torch(pattern) = rows("bench-torch.json", pattern)
cuda(pattern) = rows("bench-cuda.json", pattern)
has_torch = int(system("test -f ".folder."/bench-torch.json && echo 1 || echo 0"))
has_cuda = int(system("test -f ".folder."/bench-cuda.json && echo 1 || echo 0"))
lines = 2 + has_torch + has_cuda

set terminal pngcairo size 1400,(lines * 500) font "DejaVu Sans,13" background rgb "#ffffff"
set datafile separator "|"
set multiplot
set border 3 linecolor rgb "#808080"
set grid ytics linetype 1 linecolor rgb "#e8e8e8"
set tics nomirror scale 0.4 textcolor rgb "#404040"
set style fill solid 1.0 noborder
set title font "DejaVu Sans,16" offset 0,1.9
set key horizontal samplen 1.4 font "DejaVu Sans,12" textcolor rgb "#404040" at graph 0.5, 1.1 center
set bars 0
set lmargin 9
set rmargin 3
set bmargin 4
set tmargin 6
F32 = "#1f5fa8"; BF16 = "#e08020"; STEP = "#2f7f4f"; TARGET = "#b03030"; BOUND = "#202020"
width = 0.34
height = 1.0 / lines
row(n) = 1.0 - n * height

# The value stands in its bar; a short red line over it is the target.
number(x) = sprintf("%.2f", x)
percent(x) = sprintf("%.0f", x)

# ---- share of what is possible ----
set size 1, height
set origin 0, row(1)
set title "Share of what this machine can do"
set ylabel "% of products at their peak, and a copy" textcolor rgb "#404040"
set yrange [0:114]
set ytics 20
set xrange [-0.6:10.1]
set xtics ("512×512" 0, "1376×512" 1, "2048×2048" 2, "5461×2048" 3, \
  "35m, full" 4.5, "35m, lora" 5.5, "35m, lora,\ndropout" 6.5, "60m, full" 7.5, "60m, lora" 8.5, "60m, lora,\ndropout" 9.5)
set arrow 1 from -0.6, 100 to 10.1, 100 nohead dashtype 3 linecolor rgb "#808080"
set label 1 "layer: forward and backward, 4096 tokens, rank 128" at 1.5, 107 center textcolor rgb "#808080"
set label 2 "training: whole steps, bf16" at 7, 107 center textcolor rgb "#808080"
share = ", share of what is possible"
plot bench("layer f32 [^,]*".share) using ($0 - width/2):(100*$2):(width*0.94) with boxes linecolor rgb F32 title "f32", \
     bench("layer bf16 [^,]*".share) using ($0 + width/2):(100*$2):(width*0.94) with boxes linecolor rgb BF16 title "bf16", \
     bench("pretrain [36][50]m bf16 .*".share) using ($0 + 4.5):(100*$2):(1.3*width) with boxes linecolor rgb BF16 notitle, \
     bench("layer f32 [^,]*".share) using ($0 - width/2):(100*$3):(width/2) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET title "target", \
     bench("layer bf16 [^,]*".share) using ($0 + width/2):(100*$3):(width/2) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET notitle, \
     bench("pretrain [36][50]m bf16 .*".share) using ($0 + 4.5):(100*$3):(0.65*width) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET notitle, \
     bench("layer f32 [^,]*".share) using ($0 - width/2):(5):(percent(100*$2)) with labels textcolor rgb "#ffffff" notitle, \
     bench("layer bf16 [^,]*".share) using ($0 + width/2):(5):(percent(100*$2)) with labels textcolor rgb "#ffffff" notitle, \
     bench("pretrain [36][50]m bf16 .*".share) using ($0 + 4.5):(5):(percent(100*$2)) with labels textcolor rgb "#ffffff" notitle
unset arrow 1
unset label 1
unset label 2

# ---- against FULL and against the authors' order: bars, targets, and the bound by operations ----
set xrange [-0.6:3.6]
set xtics ("512×512" 0, "1376×512" 1, "2048×2048" 2, "5461×2048" 3)
do for [panel = 0:1] {
    what = panel ? ", faster than the authors. order" : ", time over FULL"
    set size 0.5, height
    set origin 0.5 * panel, row(2)
    set title panel ? "Times faster than the authors' order of products" : "Time over that of a full-rank layer (less is better)"
    unset ylabel
    set yrange [0:(panel ? 1.6 : 1.35)]
    set ytics panel ? 0.5 : 0.25
    plot bench("layer f32 [^,]*".what) using ($0 - width/2):2:(width*0.94) with boxes linecolor rgb F32 title "f32", \
         bench("layer bf16 [^,]*".what) using ($0 + width/2):2:(width*0.94) with boxes linecolor rgb BF16 title "bf16", \
         bench("layer f32 [^,]*".what) using ($0 - width/2):3:(width/2) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET title "target", \
         bench("layer bf16 [^,]*".what) using ($0 + width/2):3:(width/2) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET notitle, \
         bench("layer f32 [^,]*".what.", by operations") using ($0 - width/2):2 with points pointtype 7 pointsize 1.2 linecolor rgb BOUND title "by operations", \
         bench("layer bf16 [^,]*".what.", by operations") using ($0 + width/2):2 with points pointtype 7 pointsize 1.2 linecolor rgb BOUND notitle, \
         bench("layer f32 [^,]*".what) using ($0 - width/2):(0.06):(number($2)) with labels textcolor rgb "#ffffff" notitle, \
         bench("layer bf16 [^,]*".what) using ($0 + width/2):(0.06):(number($2)) with labels textcolor rgb "#ffffff" notitle
}

# ---- against PyTorch ----
if (has_torch) {
    set size 0.5, height
    set origin 0, row(3)
    set title "Layer: times faster than PyTorch in the authors' order"
    set yrange [0:2.6]
    set ytics 0.5
    plain = "layer %s [0-9x]*, faster than PyTorch"; drop = "layer %s [0-9x]*, dropout 0.1, faster than PyTorch"
    plot torch(sprintf(plain, "f32")) using ($0 - 0.3):2:(0.19) with boxes linecolor rgb F32 title "f32", \
         torch(sprintf(drop, "f32")) using ($0 - 0.1):2:(0.19) with boxes linecolor rgb "#6c98c8" title "dropout 0.1", \
         torch(sprintf(plain, "bf16")) using ($0 + 0.1):2:(0.19) with boxes linecolor rgb BF16 title "bf16", \
         torch(sprintf(drop, "bf16")) using ($0 + 0.3):2:(0.19) with boxes linecolor rgb "#e8a868" title "dropout 0.1", \
         torch(sprintf(plain, "f32")) using ($0 - 0.3):(0.18):(number($2)) with labels font ",11" rotate by 90 textcolor rgb "#ffffff" notitle, \
         torch(sprintf(drop, "f32")) using ($0 - 0.1):(0.18):(number($2)) with labels font ",11" rotate by 90 textcolor rgb "#ffffff" notitle, \
         torch(sprintf(plain, "bf16")) using ($0 + 0.1):(0.18):(number($2)) with labels font ",11" rotate by 90 textcolor rgb "#ffffff" notitle, \
         torch(sprintf(drop, "bf16")) using ($0 + 0.3):(0.18):(number($2)) with labels font ",11" rotate by 90 textcolor rgb "#ffffff" notitle, \
         2 with lines linewidth 2 linecolor rgb TARGET title "aim"

    set origin 0.5, row(3)
    set title "35m model, bf16: times faster than PyTorch"
    set xrange [-0.6:2.6]
    set xtics ("full rank" 0, "low rank" 1, "low rank, dropout 0.1" 2)
    set yrange [0:3]
    plot torch("model .*, faster than PyTorch eager") using ($0 - width/2):2:(width*0.94) with boxes linecolor rgb STEP title "eager", \
         torch("model .*, faster than PyTorch compiled") using ($0 + width/2):2:(width*0.94) with boxes linecolor rgb "#6fa587" title "compiled", \
         torch("model .*, faster than PyTorch eager") using ($0 - width/2):(0.12):(number($2)) with labels textcolor rgb "#ffffff" notitle, \
         torch("model .*, faster than PyTorch compiled") using ($0 + width/2):(0.12):(number($2)) with labels textcolor rgb "#ffffff" notitle, \
         2 with lines linewidth 2 linecolor rgb TARGET title "aim"
}

# ---- on a GPU ----
if (has_cuda) {
    set size 0.5, height
    set origin 0, row(lines)
    set title "On a GPU: share of the peak, or of a copy"
    set ylabel "%" textcolor rgb "#404040"
    set xrange [-0.6:8.6]
    set yrange [0:114]
    set ytics 20
    set xtics ("2048×\n2048" 0, "5461×\n2048" 1, "4096×\n4096" 2, "350m" 3.5, "1b" 4.5, "1\ntensor" 6, "200" 7, "200,\nclips" 8)
    layers = cuda("layer bf16 [^,]*, share of the peak"); models = cuda("pretrain [^ ]*[mb] bf16 lora, share of the peak")
    adam = cuda("Adam, .*, bandwidth of that of a copy")
    plot layers using 0:(100*$2):(0.7) with boxes linecolor rgb BF16 title "layer", \
         models using ($0 + 3.5):(100*$2):(0.7) with boxes linecolor rgb STEP title "training", \
         adam using ($0 + 6):(100*$2):(0.7) with boxes linecolor rgb F32 title "Adam", \
         layers using 0:(100*$3):(0.35) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET title "target", \
         models using ($0 + 3.5):(100*$3):(0.35) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET notitle, \
         adam using ($0 + 6):(100*$3):(0.35) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET notitle, \
         layers using 0:(5):(percent(100*$2)) with labels textcolor rgb "#ffffff" notitle, \
         models using ($0 + 3.5):(5):(percent(100*$2)) with labels textcolor rgb "#ffffff" notitle, \
         adam using ($0 + 6):(5):(percent(100*$2)) with labels textcolor rgb "#ffffff" notitle

    set origin 0.5, row(lines)
    set title "Times faster than full rank, and than PyTorch"
    unset ylabel
    set xrange [-0.6:4.6]
    set yrange [0:2.6]
    set ytics 0.5
    set xtics ("2048×2048" 0, "5461×2048" 1, "4096×4096" 2, "350m" 3, "1b" 4)
    full = cuda("layer bf16 [^,]*, time over FULL"); peers = cuda("[lp][ar][ye][^,]*, faster than PyTorch[compiled ]*")
    plot full using ($0 - width/2):(1/$2):(width*0.94) with boxes linecolor rgb STEP title "full rank", \
         peers using ($0 + width/2):2:(width*0.94) with boxes linecolor rgb BF16 title "PyTorch", \
         full using ($0 - width/2):(1/$3):(width/2) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET title "target", \
         peers using ($0 + width/2):3:(width/2) with xerrorbars pointtype -1 linewidth 3 linecolor rgb TARGET notitle, \
         full using ($0 - width/2):(0.12):(number(1/$2)) with labels textcolor rgb "#ffffff" notitle, \
         peers using ($0 + width/2):(0.12):(number($2)) with labels textcolor rgb "#ffffff" notitle
}
unset multiplot
