// The table's members that every isa/*.cpp fills from the functions of the .inl files.
// clang-format off
    .matmul_quantized = matmul_quantized,
    .matmul_float = matmul_float,
    .scale_sums = scale_sums,
    .expand = expand,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .quantize_row = quantize_row,
    .silu_mul = silu_mul,
    .gelu_tanh = gelu_tanh,
    .add = add,
    .rope = rope,
    .store_kv = store_kv,
    .attention = attention,
    .rounding_error = rounding_error,
    // clang-format on
