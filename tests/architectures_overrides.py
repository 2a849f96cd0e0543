"""What makes a transformers configuration small: patterns of setting names, and settings of single model types.

Two tables of patterns, for numbers and for lists of numbers: the first pattern that occurs in the name of a setting
says what it may be at most; None leaves it as it is. Then `OVERRIDES`: what has no default that builds, or no name that
says what it is.
"""

from __future__ import annotations

from typing import Any

VOCABULARY = 128

#: Settings that no rule is for.
UNTOUCHED = {
    "_name_or_path",
    "architectures",
    "chunk_size_feed_forward",
    "dtype",
    "id2label",
    "label2id",
    "model_type",
    "problem_type",
    "rope_parameters",
    "rope_scaling",
}

TOKEN_ID = r"(token_id|token_index|token_idx)$|^(bos|eos|pad|unk|mask|sep|cls)_"

_WIDTHS = (
    r"hidden_size|d_model|n_embd|embed_dim|embedding_size|embedding_dim|hidden_dim|model_dim|dim|width|emb_dim|rank|"
    r"projection_dim|n_embed|d_embed|proj_dim|feature_size|channels|bottleneck|d_rnn"
)
_FEED_FORWARD = (
    r"intermediate|ffn_dim|ffn_size|d_ff|n_inner|mlp_dim|ff_dim|feedforward|inner_dim|hidden_mlp|mlp_hidden|d_inner|"
    r"moe_ffn|ffn_hidden|dim_ff|mlp_size"
)
_HEADS = r"num_query_heads|n_head$|n_heads|num_heads|attention_heads|_heads$|^heads$|head_count"

LAYERS = r"^(?!.*head).*(num_hidden_layers|n_layers?$|num_layers|_layers$|^depth$|_depth$|num_block|n_blocks|^layers$)"

LIMITS: dict[str, int | None] = {
    r"vocab_size|vocabulary_size|n_vocab|num_tokens$|codebook_size|num_embeddings$|ngram_vocab": VOCABULARY,
    r"num_key_value_heads|num_kv_heads|n_kv_heads|key_value_heads|kv_heads|num_query_groups": 2,
    _HEADS: 4,
    LAYERS: 2,
    r"^(?!.*(tok|group|share)).*((num|n)_.*experts$|num_experts|n_routed|moe_num)": 4,
    r"index.*top_?k": 4,
    r"top_?k|experts_per_tok|num_selected|moe_k$": 2,
    r"^n_group$|^topk_group$|num_expert_group|router_n_group": 1,
    r"max_position|n_positions|max_source_positions|max_target_positions|max_seq|max_text_len|max_length": 64,
    r"n_ctx|seq_length|context_length$|num_buckets": 64,
    r"num_queries|num_object|num_query_tokens|num_latents|num_proposals|num_denoising|num_labels$": 16,
    _FEED_FORWARD: 64,
    r"rope_head_dim|qk_rope": 4,
    r"head_dim|head_size|d_kv|d_head|attention_head_size|kv_channels|value_head": 8,
    r"lora_rank|kv_lora|q_lora": 32,
    r"(image_size|img_size|input_size)$": 32,
    r"num_mel|num_frames|patch|kernel|stride|num_channels|in_channels|group|window|dilation|factor|ratio": None,
    r"_token|_id$|length|rate$": None,
    _WIDTHS: 32,
    r"state_size|d_state|ssm": 8,
    r"^num_filters$|^n_filters$": 8,
    r"upsample_initial_channel|base_channels": 64,
}

LIST_LIMITS: dict[str, int | None] = {
    r"token_id|token_index|_id$|_ids$|index|indices|out_features": None,
    r"depth|layers$|num_blocks|layer_nums|num_conv_layers": 1,
    _HEADS: 4,
    r"image_size|img_size": 32,
    r"kernel|stride|patch|pad|ratio|dilation|window|pool|scale|cutoffs|section|feature|grid|axes": None,
    rf"{_WIDTHS}|sizes|dims|conv_dim|{_FEED_FORWARD}": 32,
}

#: Lists of layer numbers, which must be those of layers that are left.
INDICES = (
    r"(cross_attention|attn|full_attn|global_attn|sparse|dense|moe|mlp_only).*layers$|fullatt.*ind|select_layer|"
    r"feature_layer|out_ind|global_attn.*ind|layer_ind|layers_idx|layer_idx|deepstack.*ind"
)

_BERT_DECODER = ("bert", {"is_decoder": True, "add_cross_attention": True})

#: Configurations that are made of others and have no default: the parts, each a model type and what is changed of it.
COMPOSITES: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "encoder-decoder": {"encoder": ("bert", {}), "decoder": _BERT_DECODER},
    "vision-encoder-decoder": {"encoder": ("vit", {}), "decoder": _BERT_DECODER},
    "speech-encoder-decoder": {"encoder": ("wav2vec2", {}), "decoder": _BERT_DECODER},
    "gemma4_assistant": {
        "text_config": (
            "gemma4_text",
            {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0, "num_kv_shared_layers": 0},
        )
    },
    "rag": {"question_encoder": ("dpr", {}), "generator": ("bart", {})},
    "vision-text-dual-encoder": {"vision_config": ("vit", {}), "text_config": ("bert", {})},
    "musicgen": {
        "text_encoder": ("t5", {}),
        "audio_encoder": ("encodec", {}),
        "decoder": ("musicgen_decoder", {}),
    },
    "musicgen_melody": {
        "text_encoder": ("t5", {}),
        "audio_encoder": ("encodec", {}),
        "decoder": ("musicgen_melody_decoder", {}),
    },
}

_RESNET = {
    "model_type": "resnet",
    "layer_type": "basic",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 32, 64],
    "depths": [1, 1, 1, 1],
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
_ROPE = {"rope_type": "default", "rope_theta": 1e4}
_TWO_ROPES = {"full_attention": _ROPE, "sliding_attention": _ROPE}
_INDEXER = {"n_heads": 2, "kv_heads": 1, "head_dim": 8, "budget": 16, "compress_ratio": 4}

#: Settings of single types. A name with dots is that of a configuration inside; a value with a model type becomes one.
OVERRIDES: dict[str, dict[str, Any]] = {
    # pretrained backbones from elsewhere
    **{
        name: {"backbone_config": _RESNET}
        for name in ("conditional_detr", "dab-detr", "deformable_detr", "detr", "table-transformer")
    },
    # no default, or none that builds
    **{
        name: {"context_length": 4, "prediction_length": 4}
        for name in ("autoformer", "informer", "time_series_transformer")
    },
    "chameleon": {
        "vocabulary_map": {"<image>": 3, "IMGIMGA": 4, "IMGIMGB": 5},
        "vq_config.channel_multiplier": [1, 1],
    },
    "cohere_compass": {"text_config.rope_parameters": _TWO_ROPES},
    "cohere_compass_text": {"rope_parameters": _TWO_ROPES},
    "dbrx": {"attn_config.rope_theta": 1e4},
    "emu3": {
        "vocabulary_map": {
            "<image>": 3,
            "<|visual token 000000|>": 4,
            "<|visual token 000001|>": 5,
            "<|extra_200|>": 6,
        },
        "vq_config.channel_multiplier": [1, 1],
    },
    "granite4_vision": {"downsample_rate": "1/2", "deepstack_layer_map": [], "spatial_target_layers": []},
    "pix2struct_text_model": {"initializer_range": 0.02},
    "t5gemma2_decoder": {"dropout_rate": 0.0},
    "t5gemma2_encoder": {"text_config.dropout_rate": 0.0},
    "t5gemma2_text": {"dropout_rate": 0.0},
    "vitmatte": {"fusion_hidden_sizes": [32, 32, 32, 32]},
    # settings that must fit one another
    "bit": {"num_groups": 1},
    "blt": {"encoder_hash_byte_group_vocab": 50},
    "bridgetower": {"vision_config.hidden_size": 64},
    "bridgetower_vision_model": {"hidden_size": 64},
    "cvt": {"depth": [1, 2, 3]},
    "deepseek_ocr2": {"text_config.mlp_layer_types": ["dense", "sparse"]},
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"]},
    "depth_pro": {"intermediate_feature_dims": [16, 16], "scaled_images_feature_dims": [32, 16, 16]},
    **{name: {"embed_dim": 24} for name in ("donut-swin", "maskformer-swin", "swinv2")},
    "ernie4_5_vl_moe": {
        "text_config.hidden_size": 64,
        "text_config.rope_parameters": _ROPE | {"mrope_section": [2, 2, 4]},
    },
    "ernie4_5_vl_moe_text": {"hidden_size": 64, "rope_parameters": _ROPE | {"mrope_section": [2, 2, 4]}},
    "esm": {"vocab_size": 33},
    "esmc": {"num_key_value_heads": 4},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gemma4_assistant": {"text_config.num_kv_shared_layers": 0},
    "gemma4_unified_assistant": {"text_config.num_kv_shared_layers": 0},
    **{name: {"head_dim": 8} for name in ("hunyuan_v1_dense", "hunyuan_v1_moe", "hunyuan_vl_text", "ministral")},
    "hunyuan_vl": {"text_config.head_dim": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    **{
        name: {"upsample_groups": 32}
        for name in ("mimi", "mimi_decoder", "pocket_tts_audio_tokenizer", "pocket_tts_audio_tokenizer_decoder")
    },
    "moonshine_streaming": {"num_key_value_heads": 4},
    "nemotron": {"num_key_value_heads": 2},
    "perceiver": {"d_latents": 32},
    "qwen4_exp": {f"text_config.indexer_{name}": value for name, value in _INDEXER.items()},
    "qwen4_exp_text": {f"indexer_{name}": value for name, value in _INDEXER.items()},
    "reformer": {"axial_pos_embds_dim": [16, 16]},
    "tvp": {"visual_prompt_size": 16},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    # large by a setting whose name does not say so
    "align": {"vision_config.depth_coefficient": 0.5, "vision_config.width_coefficient": 0.5},
    **{name: {"depth_coefficient": 0.5, "width_coefficient": 0.5} for name in ("align_vision_model", "efficientnet")},
    "bark": {"codec_config.num_filters": 4},
    **{name: {"channel_multiplier": [1, 1]} for name in ("chameleon_vqgan", "emu3_vqgan", "janus_vqgan")},
    "diffusion_gemma": {"text_config.moe_intermediate_size": 16, "text_config.num_experts": 4},
    "diffusion_gemma_text": {"moe_intermediate_size": 16, "num_experts": 4},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1},
    "janus": {"vq_config.channel_multiplier": [1, 1]},
    "musicgen": {"audio_encoder.num_filters": 4},
    "musicgen_melody": {"audio_encoder.num_filters": 4},
    "qwen3_omni_moe": {
        "talker_config.spatial_merge_size": 2,
        "talker_config.text_config.shared_expert_intermediate_size": 16,
    },
    "qwen3_omni_moe_talker_text": {"shared_expert_intermediate_size": 16},
    "univnet": {"kernel_predictor_hidden_channels": 8, "model_hidden_channels": 8},
    "vibevoice": {"audio_config.num_filters": 4, "semantic_model_config.num_filters": 4},
    "vibevoice_asr": {
        "acoustic_tokenizer_encoder_config.num_filters": 4,
        "semantic_tokenizer_encoder_config.num_filters": 4,
    },
    **{
        name: {"num_filters": 4}
        for name in (
            "encodec",
            "vibevoice_acoustic_tokenizer",
            "vibevoice_acoustic_tokenizer_decoder",
            "vibevoice_acoustic_tokenizer_encoder",
        )
    },
    "vits": {"flow_size": 16, "upsample_initial_channel": 32},
}
