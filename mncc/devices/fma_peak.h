/* The FMA peak meter as a part of another program; see fma_peak.c. */
#ifndef FMA_PEAK_H
#define FMA_PEAK_H

/* GFLOP/s that `threads` cores reach together (a multiply-add counts as two), measured for about `seconds`; `name` tells
 * by which instructions. 0 where the program knows none of the processor's, negative where threads cannot be made. */
double fma_peak(int threads, double seconds, const char **name);
#endif
