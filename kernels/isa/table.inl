// The table's members that every isa/*.cpp fills from the functions of the .inl files.
.matmul_quantized = matmul_quantized, .matmul_float = matmul_float, .scale_sums = scale_sums,
                                      .rms_norm = rms_norm, .quantize_row = quantize_row,
                                      .silu_mul = silu_mul, .add = add, .rope = rope, .store_kv = store_kv,
                                      .attention = attention, .rounding_error = rounding_error,
