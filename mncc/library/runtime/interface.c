/* What every library exports, whatever it runs on. */

static const mncc_model model = {
    sizeof(mncc_model), MNCC_ABI, MNCC_MODEL_NAME, MNCC_MODEL_HASH, MNCC_INPUTS, MNCC_OUTPUTS, input_tensors,
    output_tensors,     workspace_for, run_network, selftest, status_string,
};

const mncc_model *MNCC_NAME(model)(void) { return &model; }

mncc_status MNCC_NAME(run)(MNCC_RUN_PARAMETERS, void *workspace, size_t workspace_bytes, const mncc_exec *exec) {
  const void *const inputs[MNCC_INPUTS] = {MNCC_RUN_INPUTS};
  void *const outputs[MNCC_OUTPUTS] = {MNCC_RUN_OUTPUTS};
  return run_network(inputs, outputs, workspace, workspace_bytes, exec);
}

mncc_exec *MNCC_NAME(pool_create)(int32_t threads) { return pool_create(threads); }

void MNCC_NAME(pool_destroy)(mncc_exec *exec) { pool_destroy(exec); }
